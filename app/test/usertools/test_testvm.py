# SPDX-License-Identifier: BSD-3-Clause
"""The test VM's parts, without a VM: command lines, modules, the agent's protocol, supervision."""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_testvm import agent, initramfs, qemu  # noqa: E402
from ringpass_testvm.agent import Agent, AgentError, GuestRebooted, GuestTimeout, Result  # noqa: E402
from ringpass_testvm.cache import Cache, content_hash  # noqa: E402
from ringpass_testvm.cli import parse_nic  # noqa: E402
from ringpass_testvm.errors import TestvmError  # noqa: E402
from ringpass_testvm.kernel import newest  # noqa: E402
from ringpass_testvm.qmp import Qmp  # noqa: E402
from ringpass_testvm.supervise import Supervisor  # noqa: E402
from ringpass_testvm.vm import GuestEnded, Vm  # noqa: E402

SECONDS = 30


def test_nic_from_the_command_line():
    nic = parse_nic("vhost-user,path=/s,server=on,reconnect=3,queues=2,mac=52:54:00:00:00:07,page_per_vq=off")
    assert nic == qemu.Nic(qemu.VhostUser("/s", True, 3), "52:54:00:00:00:07", 2, False)
    assert parse_nic("user") == qemu.Nic(qemu.UserNet())
    assert parse_nic("vfio-user,path=/s") == qemu.VfioUser("/s")


@pytest.mark.parametrize("text, words", [
    ("tap", ["'tap'", "expected", "user"]),
    ("user,path=/s", ["'path'", "expected", "mac"]),
    ("user,queues=two", ["queues=two", "expected a number"]),
    ("vhost-user,path=/s,server=yes", ["server=yes", "expected on or off"]),
    ("vhost-user", ["path=SOCKET"]),
    ("vfio-user", ["path=SOCKET"]),
    ("vfio-user,path=/s,mac=52:54:00:00:00:01", ["'mac'", "expected", "path"]),
])
def test_bad_nic(text, words):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse_nic(text)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("version, accel, net, vectors", [
    (7, "tcg", qemu.VhostUser("/s"), 0),
    (7, "kvm", qemu.VhostUser("/s"), 6),
    (7, "tcg", qemu.UserNet(), 6),
    (11, "tcg", qemu.VhostUser("/s"), 6),
])
def test_msix_only_where_it_is_safe(monkeypatch, version, accel, net, vectors):
    monkeypatch.setattr(qemu, "major_version", lambda program: version)
    assert f"vectors={vectors}" in qemu.Nic(net, queues=2).arguments(0, accel)[-1].split(",")


def test_a_device_for_the_command_line_and_for_qmp():
    nic = qemu.Nic(qemu.VhostUser("/s"), "52:54:00:00:00:07", 2, vectors=0, packed=True, bus="rp0")
    device = nic.device(3, "tcg", "no-such-program")
    assert device == {"driver": "virtio-net-pci", "id": "nic3", "netdev": "n3", "romfile": "", "disable-legacy": "on",
                      "page-per-vq": True, "mac": "52:54:00:00:00:07", "mq": True, "packed": True, "bus": "rp0",
                      "vectors": 0}
    words = nic.arguments(3, "tcg")[-1].split(",")
    assert words[0] == "virtio-net-pci"
    assert {"id=nic3", "page-per-vq=on", "packed=on", "bus=rp0", "vectors=0", "romfile="} < set(words)


@pytest.mark.parametrize("program, begin", [("qemu-system-x86_64", "qemu"), ("build/qemu", "/"), ("/opt/qemu", "/opt")])
def test_a_qemu_that_is_found_from_anywhere(program, begin):
    assert qemu._found_from_anywhere(program).startswith(begin)


def test_a_whole_device_for_the_command_line_and_for_qmp():
    card = qemu.VfioUser("/run/a,b.sock", "rp0", {"x-send-queued": True})
    device = card.device(3, "tcg", "no-such-program")
    assert device == {"driver": "vfio-user-pci", "id": "nic3", "bus": "rp0", "x-send-queued": True,
                      "socket": {"type": "unix", "path": "/run/a,b.sock"}}
    # As JSON: the short form cannot say what the socket is.
    option, text = card.arguments(3, "tcg")
    assert option == "-device"
    assert json.loads(text) == device


@pytest.mark.parametrize("memory, backends, nodes", [
    ("shared", ["memory-backend-memfd,id=mem,size=256M,share=on"], []),
    ("private", ["memory-backend-ram,id=mem,size=256M"], []),
    ("half", ["memory-backend-memfd,id=mem0,size=128M,share=on", "memory-backend-ram,id=mem1,size=128M"],
     ["node,nodeid=0,memdev=mem0,cpus=0", "node,nodeid=1,memdev=mem1,cpus=1"]),
])
def test_memory_that_a_device_can_map_or_not(memory, backends, nodes):
    command = qemu.Machine("k", "i", "tcg", memory_mib=256, memory=memory).command("/console", "/agent", "/qmp")

    def values(option):
        return [command[index + 1] for index, word in enumerate(command) if word == option]
    assert values("-object") == backends
    assert values("-numa") == nodes
    assert ("memory-backend=mem" in values("-machine")) == (not nodes)


def test_root_ports_and_memory_slots():
    machine = qemu.Machine("k", "i", "tcg", memory_mib=256, memory_slots=2, program="other-qemu",
                           root_ports=["rp0", "rp1,pref64-reserve=16M"])
    command = machine.command("/console", "/agent", "/qmp")
    assert command[0] == "other-qemu"
    assert command[command.index("-m") + 1] == f"256,slots=2,maxmem={256 + qemu.MEMORY_ROOM_MIB}M"
    ports = [word for word in command if word.startswith("pcie-root-port,")]
    assert [port.split(",id=")[1] for port in ports] == ["rp0", "rp1,pref64-reserve=16M"]
    assert len({re.search(r"chassis=(\d+)", port).group(1) for port in ports}) == 2


def test_a_program_brings_its_libraries():
    files = initramfs._program("cpio")
    assert "bin/cpio" in files
    assert any(name.startswith("lib") and "libc.so" in name for name in files)
    with pytest.raises(TestvmError, match="no nothing-of-the-sort for the guest"):
        initramfs._program("nothing-of-the-sort")


@pytest.fixture
def monitor(tmp_path):
    """A QMP server that answers each command with the lines that the test has put into a list, and then a result."""
    lines = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "qmp"))
    listener.listen(1)

    def serve():
        connection, _ = listener.accept()
        with connection, connection.makefile("rw", encoding="utf-8") as file:
            file.write('{"QMP": {}}\n')
            file.flush()
            for _ in file:
                while lines:
                    file.write(lines.pop(0) + "\n")
                file.write('{"return": {}}\n')
                file.flush()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with Qmp(str(tmp_path / "qmp")) as one:
        one.lines = lines
        yield one
    thread.join(SECONDS)
    listener.close()


def test_an_event_may_come_before_it_is_awaited(monitor):
    monitor.lines += ['{"event": "DEVICE_DELETED", "data": {"path": "/machine/a/virtio-backend"}}',
                      '{"event": "DEVICE_DELETED", "data": {"device": "b", "path": "/machine/b"}}',
                      '{"event": "DEVICE_DELETED", "data": {"device": "a", "path": "/machine/a"}}']
    monitor.execute("device_del", id="a")
    assert monitor.wait_event("DEVICE_DELETED", device="a")["path"] == "/machine/a"
    assert monitor.wait_event("DEVICE_DELETED", device="b")["path"] == "/machine/b"


def test_an_event_that_does_not_come(monitor):
    monitor._socket.settimeout(0.1)
    with pytest.raises(TestvmError, match="DEVICE_DELETED.*not within"):
        monitor.wait_event("DEVICE_DELETED", device="a")


def test_modules_come_after_what_they_need(tmp_path):
    directory = tmp_path / "lib/modules/6.1.0-10-cloud-amd64"
    (directory / "kernel").mkdir(parents=True)
    (tmp_path / "boot").mkdir()
    for release in ("6.1.0-9-cloud-amd64", "6.1.0-10-cloud-amd64"):
        (tmp_path / f"boot/vmlinuz-{release}").touch()
    for name in ("ring", "core", "net-card"):
        (directory / f"kernel/{name}.ko").write_text(name)
    (directory / "modules.dep").write_text(
        "kernel/ring.ko:\nkernel/core.ko: kernel/ring.ko\nkernel/net-card.ko: kernel/core.ko kernel/ring.ko\n")
    (directory / "modules.builtin").write_text("kernel/pci.ko\n")
    kernel = newest(tmp_path)
    assert kernel.release == "6.1.0-10-cloud-amd64"
    assert [name for name, _ in kernel.modules(["net_card", "core", "pci"])] == ["ring", "core", "net_card"]
    with pytest.raises(TestvmError, match="no module nothing"):
        kernel.modules(["nothing"])


def test_cache_writes_whole_files(tmp_path):
    store = Cache(tmp_path / "cache")
    path = store.write("name", b"content")
    assert pathlib.Path(path).read_bytes() == b"content"
    assert os.listdir(store.directory) == ["name"]
    assert content_hash([b"ab", b"c"]) != content_hash([b"a", b"bc"])


class Guest:
    """The guest's end: answers each @run line with what answer(token) yields."""

    def __init__(self, directory, answer=None):
        self.alive = True
        self.agent = Agent(str(directory / "agent.sock"), self.require_alive)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(directory / "agent.sock"))
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def require_alive(self):
        if not self.alive:
            raise TestvmError("dead")

    def _serve(self):
        self.socket.sendall(b"half a li\n@hello first 6.1\n")
        for line in self.socket.makefile("r"):
            for part in self._answer(line.split()[1]):
                self.socket.sendall(part)


@pytest.fixture
def guest(tmp_path):
    made = []

    def make(answer=None):
        made.append(Guest(tmp_path, answer))
        made[0].agent.wait_boot(1, SECONDS)
        return made[0]
    yield make
    for one in made:
        one.agent.close()
        one.socket.close()


def test_agent_frames(guest):
    """Output may look like a frame, and come in pieces; what belongs to an earlier command is passed over."""
    def answer(token):
        text = f"@end {token} 0 3\n@hello x y\nlast".encode()
        yield b"@end stale 1 0\nnoise\n"
        yield f"@end {token} 7 {len(text)}\n".encode() + text[:9]
        yield text[9:]
    one = guest(answer)
    for _ in range(2):
        result = one.agent.run("true", SECONDS)
        assert result.status == 7
        assert re.fullmatch(r"@end \w+ 0 3\n@hello x y\nlast", result.output)
    assert (one.agent.boot_id, one.agent.boot_count) == ("first", 1)


def test_agent_sees_a_reboot(guest):
    one = guest(lambda token: [b"\n@hello second 6.1\n"])
    with pytest.raises(GuestRebooted):
        one.agent.run("reboot", SECONDS)
    assert (one.agent.boot_id, one.agent.boot_count) == ("second", 2)


def test_agent_timeout(guest):
    """What counts is the time since the command was sent, not since somebody has looked for its answer."""
    def answer(token):
        time.sleep(1)
        yield f"@end {token} 143 4\nhalf".encode()
    one = guest(answer).agent
    with pytest.raises(GuestTimeout, match="half"):
        one.run("sleep 9", 1)
    token = one.send("sleep 9", 1)
    time.sleep(2)
    with pytest.raises(GuestTimeout, match="half"):
        one.finish(token, "sleep 9", 1)


def test_agent_of_a_guest_that_takes_its_time_to_end(guest):
    """Its line is closed some time before it can be said how it has ended."""
    one = guest(lambda token: [])
    asked = []

    def require_alive():
        asked.append(1)
        if len(asked) > 3:
            raise TestvmError("ended with status 0")
    one.agent._require_alive = require_alive
    one.socket.shutdown(socket.SHUT_RDWR)
    with pytest.raises(TestvmError, match="ended with status 0"):
        one.agent.run("true", SECONDS)


def test_agent_of_a_dead_guest(guest, monkeypatch):
    monkeypatch.setattr(agent, "END_SECONDS", 0.2)
    one = guest(lambda token: [])
    one.alive = False
    with pytest.raises(TestvmError, match="dead"):
        one.agent.run("true", SECONDS)
    one.alive = True
    one.socket.shutdown(socket.SHUT_RDWR)
    with pytest.raises(AgentError, match="closed"):
        one.agent.run("true", SECONDS)


def test_supervisor_ends_what_it_started():
    with Supervisor("unit") as supervisor:
        directory = supervisor.directory
        gentle = supervisor.start("gentle", ["sleep", "1000"])
        stubborn = supervisor.start("stubborn", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"])
        stubborn.wait_for_line("up", SECONDS)
        assert gentle.stop() == -signal.SIGTERM
        assert stubborn.stop(timeout=0.1) == -signal.SIGKILL
        with pytest.raises(TestvmError, match="status 3"):
            supervisor.start("short", ["sh", "-c", "exit 3"]).wait_for_line("never", SECONDS)
    assert not os.path.exists(directory)


SCRIPT = """
import os, signal, sys, time
sys.path.insert(0, {path!r})
from ringpass_testvm import stopping
from ringpass_testvm.supervise import Supervisor
stopping.install()
supervisor = Supervisor("unit")
def work():
    supervisor.open()
    print(supervisor.directory, supervisor.start("child", ["sleep", "1000"]).pid, flush=True)
    {work}
def cleanup():
    {cleanup}
    supervisor.close()
try:
    stopping.guarded(work, cleanup)
except stopping.Stopped as stopped:
    sys.exit(128 + stopped.signum)
"""
TO_SELF = "os.kill(os.getpid(), signal.SIGTERM)"


def exists(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_script(work, cleanup):
    """@return status, run directory, pid of the child."""
    script = SCRIPT.format(path=str(TOP / "usertools"), work=work, cleanup=cleanup)
    done = subprocess.run([sys.executable, "-B", "-c", script], capture_output=True, text=True, timeout=SECONDS,
                          check=False)
    directory, pid = done.stdout.split()
    return done.returncode, directory, int(pid)


@pytest.mark.parametrize("work, cleanup", [
    (TO_SELF, "pass"),
    ("pass", TO_SELF),
    (f"{TO_SELF}; time.sleep(9)", f"{TO_SELF}; {TO_SELF}"),
], ids=["while-working", "while-cleaning-up", "both"])
def test_a_signal_leaves_nothing(work, cleanup):
    status, directory, pid = run_script(work, cleanup)
    assert status == 128 + signal.SIGTERM
    assert not os.path.exists(directory)
    assert not exists(pid)


def test_children_do_not_outlive_a_crash():
    status, directory, pid = run_script("os.kill(os.getpid(), signal.SIGKILL)", "pass")
    assert status == -signal.SIGKILL
    end = time.monotonic() + SECONDS
    while exists(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not exists(pid)
    for name in os.listdir(directory):
        os.unlink(os.path.join(directory, name))
    os.rmdir(directory)


class StuckVm(Vm):
    """Starts nothing: only what wait_boot() decides."""

    def __init__(self, console, failures):
        self.name = "guest0"
        self._console_log = console
        self._agent = None
        self._boot = None
        self.failures = failures
        self.launches = 0
        self.launch()

    def launch(self):
        self.launches += 1
        self._agent = StuckAgent(self)

    def kill(self):
        self._agent = None


class StuckAgent:
    boot_id = "first"

    def __init__(self, vm):
        self.vm = vm

    def wait_boot(self, _boots, _timeout):
        if self.vm.failures:
            self.vm.failures -= 1
            raise AgentError("boot 1: no answer in time")


@pytest.mark.parametrize("console, failures, launches, fails", [
    ("Loading compiled-in X.509 certificates", 1, 2, False),
    ("Loading compiled-in X.509 certificates", 2, 2, True),
    ("init: loading /modules/virtio_net.ko", 1, 1, True),
])
def test_only_a_kernel_that_never_came_up_is_started_again(tmp_path, console, failures, launches, fails):
    log = tmp_path / "console.log"
    log.write_text(console)
    vm = StuckVm(str(log), failures)
    if fails:
        with pytest.raises(AgentError):
            vm.wait_boot(1)
    else:
        vm.wait_boot(1)
    assert vm.launches == launches


class OtherBootAgent:
    """Says hello again while the second command runs, and serves the new boot as if nothing had happened."""

    def __init__(self):
        self.boot_id = "first"
        self.commands = 0

    def wait_boot(self, _boots, _timeout):
        pass

    def run(self, _command, _timeout):
        self.commands += 1
        if self.commands == 2:
            self.boot_id = "second"
            raise GuestRebooted("the guest has booted again meanwhile")
        return Result(0, "")


def test_a_boot_that_nobody_asked_for_is_said_until_somebody_waits_for_it(tmp_path):
    """Else each later command finds another thing missing."""
    log = tmp_path / "console.log"
    log.write_text("[ 0] Linux version 6.1\nKernel panic - not syncing\n[ 0] Linux version 6.1\nwelcome\n")
    vm = StuckVm(str(log), 0)
    vm._agent = agent = OtherBootAgent()
    vm.wait_boot(1)
    vm.run("true")
    for _ in range(2):
        with pytest.raises(GuestRebooted, match="guest0: cat x: .* unasked") as raised:
            vm.run("cat x")
        assert "Kernel panic" in str(raised.value) and "welcome" not in str(raised.value)
    assert agent.commands == 2
    vm.wait_boot(2)
    assert vm.run("true").status == 0


class EndedProcess:
    def __init__(self, status):
        self.status = status

    def poll(self):
        return self.status

    def require_alive(self):
        raise TestvmError(f"guest0: ended with status {self.status}")


@pytest.mark.parametrize("starts_again, status, panicked", [(False, 0, True), (False, -11, False), (True, 0, False)])
def test_a_guest_that_has_ended_shows_its_console(tmp_path, starts_again, status, panicked):
    log = tmp_path / "console.log"
    log.write_text("[ 0] Linux version 6.1\nKernel panic - not syncing\n")
    vm = StuckVm(str(log), 0)
    vm.machine = qemu.Machine("k", "i", "tcg", starts_again=starts_again)
    assert ("-no-reboot" in vm.machine.command("c", "a", "q")) == (not starts_again)
    vm._process = EndedProcess(status)
    with pytest.raises(GuestEnded, match=f"ended with status {status}") as raised:
        vm.require_alive()
    assert "Kernel panic - not syncing" in str(raised.value)
    assert ("its kernel has panicked" in str(raised.value)) == panicked
