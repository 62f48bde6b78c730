# SPDX-License-Identifier: BSD-3-Clause
"""The hardware VM's parts, without a VM: command lines, the trace, the lines, and what the command refuses."""

import json
import os
import pathlib
import pty
import socket
import subprocess
import sys
import threading
import tty

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_hwvm import cli, function, inside, lines, wire  # noqa: E402
from ringpass_hwvm.function import Function  # noqa: E402
from ringpass_hwvm.kicks import Trace  # noqa: E402
from ringpass_hwvm.remote import RemoteSocket  # noqa: E402
from ringpass_hwvm.vm import HardwareVm  # noqa: E402
from ringpass_testvm import Result, Supervisor, TestvmError  # noqa: E402
from ringpass_testvm.cache import Cache  # noqa: E402

COMMAND = str(TOP / "usertools" / "ringpass-hwvm")
SECONDS = 60


def _values(command, option):
    return [command[index + 1] for index, word in enumerate(command) if word == option]


def _properties(text):
    driver, *pairs = text.split(",")
    return driver, dict(pair.partition("=")[::2] for pair in pairs)


def test_a_function_that_is_good_hardware():
    command = function.arguments([Function()])
    driver, properties = _properties(_values(command, "-device")[-1])
    assert driver == "virtio-net-pci"
    # without iommu_platform the rings would bypass the IOMMU, and everything would seem to work
    assert properties["iommu_platform"] == "on"
    assert properties["disable-legacy"] == "on" and properties["disable-modern"] == "off"
    assert properties["vectors"] == "4" and "mq" not in properties
    assert _values(command, "-netdev") == ["user,id=n0,restrict=on"]


def test_each_option_of_a_function_reaches_the_command_line():
    one = Function(queues=2, packed=True, page_per_vq=False, queue_reset=False, modern=False, iommu=False, mac="M",
                   vectors=0, tap="t", more="speed=10")
    command = function.arguments([one])
    _, properties = _properties(_values(command, "-device")[-1])
    assert {"packed": "on", "page-per-vq": "off", "queue_reset": "off", "iommu_platform": "off", "mac": "M",
            "disable-legacy": "off", "disable-modern": "on", "vectors": "0", "mq": "on",
            "speed": "10"}.items() <= properties.items()
    assert _values(command, "-netdev") == ["tap,id=n0,ifname=t,script=no,downscript=no,vhost=off,queues=2"]


def test_functions_on_the_root_bus_in_root_ports_and_behind_a_bridge():
    functions = [Function(), Function(root_port=True), Function(shared_group=True), Function(shared_group=True)]
    devices = [_properties(text) for text in _values(function.arguments(functions), "-device")]
    assert [driver for driver, _ in devices] == ["pcie-root-port", "pcie-pci-bridge"] + ["virtio-net-pci"] * 4
    cards = [properties for driver, properties in devices if driver == "virtio-net-pci"]
    assert [card["bus"] for card in cards] == ["pcie.0", "port1", "bridge", "bridge"]
    assert len({card["mac"] for card in cards}) == 4
    assert [place.sysfs for place in function.places(functions)] == [
        "0000:00:10.0", "0000:00:09.0/0000:*:00.0", "0000:00:18.0/0000:*:01.0", "0000:00:18.0/0000:*:02.0"]
    taken = [(properties.get("bus", "pcie.0"), properties["addr"]) for _, properties in devices]
    assert len(set(taken)) == len(taken)


def test_as_many_functions_as_there_are_places():
    functions = [Function(root_port=number % 2 == 0) for number in range(function.FUNCTIONS_MAX)]
    addresses = [_properties(text)[1]["addr"] for text in _values(function.arguments(functions), "-device")
                 if "bus=port" not in text]
    assert len(set(addresses)) == len(addresses) == function.FUNCTIONS_MAX


TRACE = """virtio_set_status vdev 0x55a0 val 0
virtio_queue_notify vdev 0x55a0 n 0 vq 0x1
virtio_queue_notify vdev 0x55a0 n 1 vq 0x2
virtio_queue_notify vdev 0x66b0 n 1 vq 0x3
virtio_set_status vdev 0x66b0 val 0
123@456.7:virtio_queue_notify vdev 0x55a0 n 1 vq 0x2
virtio_queue_notify vdev 0x55a0 n 1"""


def test_kicks_of_each_function_and_queue(tmp_path):
    trace = Trace(str(tmp_path / "trace"))
    assert trace.size() == 0 and trace.kicks("0x55a0") == {}
    (tmp_path / "trace").write_text(TRACE, encoding="ascii")
    assert trace.kicks("0x55a0") == {0: 1, 1: 2}
    assert trace.kicks("0x66b0") == {1: 1}
    assert trace.kicks("0x55") == {}
    assert trace.whose_status(0) == "0x55a0"
    assert trace.whose_status(TRACE.index("virtio_queue_notify")) == "0x66b0"
    assert trace.whose_status(len(TRACE)) is None
    assert {"virtio_queue_notify", "virtio_set_status"} == set(_values(trace.arguments(), "-trace"))


def test_a_command_for_the_machines_shell_is_one_word(tmp_path):
    script = inside.in_machine("echo \"it's $((1 + 1))\"; echo 'a  b'")
    assert script.startswith("exec chroot /machine ")
    # the same without the chroot, which is what the VM adds
    here = script.replace("chroot /machine ", "")
    done = subprocess.run(["sh", "-c", here], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout == "it's 2\na  b\n"


class _SlowVm:
    """Runs commands here. What a program writes of itself is there only after some of them."""

    def __init__(self, place):
        self._place = place
        self._until_there = 3
        self._script = None

    def spawn(self, command):
        self._script = command.splitlines()[0]

    def run(self, command, check=True):
        assert not check
        if self._until_there == 0:
            self._run(self._script)
        self._until_there -= 1
        return self._run(command)

    def _run(self, command):
        done = subprocess.run(["sh", "-c", command.replace("/run/", f"{self._place}/")], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
        return Result(done.returncode, done.stdout)


def test_a_program_that_is_slow_to_say_its_number(tmp_path):
    """What cat says of a file that is not there is no answer."""
    assert inside.Inside(_SlowVm(tmp_path), "slow", "true").pid > 0


class _Monitor:
    """The VM's end of a line: a QEMU that says hello, and answers each command."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)

    def say(self, text):
        self._socket.sendall(text.encode())

    def answer(self, count, result):
        """So many commands, in a thread."""
        def serve():
            with self._socket.makefile("r", encoding="utf-8") as file:
                for _ in range(count):
                    file.readline()
                    self.say(json.dumps({"return": result}) + "\n")
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        return thread

    def close(self):
        self._socket.close()


@pytest.fixture
def monitor_line(tmp_path):
    path = str(tmp_path / "line")
    line = lines.MonitorLine(path)
    monitor = _Monitor(path)
    yield line, monitor
    monitor.close()
    line.close()
    assert not os.path.exists(path)


def test_a_monitor_line_serves_one_guest_after_the_other(monitor_line):
    line, monitor = monitor_line
    for generation in range(3):
        line.forget()
        monitor.say('{"QMP": {}}\n')
        thread = monitor.answer(3, {"generation": generation})
        with line.qmp() as qmp:
            assert qmp.execute("query") == {"generation": generation}
        with line.qmp() as qmp:  # the same guest: no greeting comes again
            assert qmp.execute("query") == {"generation": generation}
        thread.join(SECONDS)


def test_what_an_earlier_guest_has_said_is_not_for_the_next_one(monitor_line):
    line, monitor = monitor_line
    monitor.say('{"QMP": {}}\n')
    thread = monitor.answer(1, {})
    line.qmp()
    thread.join(SECONDS)
    monitor.say('{"event": "SHUTDOWN"}\n{"QMP": {"half"')
    line.forget()
    monitor.say(' of something\n{"QMP": {}}\n')
    thread = monitor.answer(2, {"mine": True})
    with line.qmp() as qmp:
        assert qmp.execute("query") == {"mine": True}
        assert qmp._events == []
    thread.join(SECONDS)


def test_a_monitor_that_does_not_answer(monitor_line, monkeypatch):
    """It is said in words, and nothing keeps the line open."""
    line, monitor = monitor_line
    monkeypatch.setattr(lines, "ANSWER_SECONDS", 0.2)
    with pytest.raises(TestvmError, match="QMP: timed out"):
        line.qmp()
    monitor.say('{"QMP": {}}\n')
    with pytest.raises(TestvmError, match="QMP qmp_capabilities: timed out") as kept:
        line.qmp()
    line.close()
    with pytest.raises(ConnectionError):  # also while somebody looks at where the error came from
        monitor.say("anyone?")
    del kept


def test_lines_have_names_that_the_vm_finds(tmp_path):
    command = lines.arguments([str(tmp_path / "a"), str(tmp_path / "b")])
    ports = [_properties(text)[1] for text in _values(command, "-device") if text.startswith("virtserialport")]
    assert [f"/dev/{port['name']}" for port in ports] == [lines.device(0), lines.device(1)]
    assert len({port["nr"] for port in ports}) == 2


@pytest.fixture
def echo_server(tmp_path):
    """Answers a line with its reverse; the line "silent" with nothing. The path of its socket."""
    path = str(tmp_path / "echo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                request = file.readline().strip()
                if request != b"silent":
                    file.write(request[::-1] + b"\n")
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(SECONDS)


@pytest.fixture
def relay(tmp_path, echo_server):
    """The VM's side of the line to ringpassd. A file of the other end, and the path of a socket that nobody serves."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    process = subprocess.Popen([sys.executable, str(TOP / "usertools/ringpass_hwvm/guest/relay.py"),
                                os.ttyname(theirs), echo_server])
    with open(ours, "r+b", buffering=0) as file:
        yield file
        process.kill()
        process.wait(SECONDS)
    os.close(theirs)


def test_the_relay_answers_every_request(relay):
    relay.write(b"abc\nsilent\n")
    relay.write(b"de")
    relay.write(b"f\n")
    assert [relay.readline() for _ in range(3)] == [b"cba\n", b"\n", b"fed\n"]


def _ask(path, *requests):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)
        with connection.makefile("rwb") as file:
            answers = []
            for request in requests:
                file.write(request)
                file.flush()
                answers.append(file.readline())
            return answers


def test_a_socket_of_the_vm_is_a_socket_here(tmp_path):
    remote = RemoteSocket(str(tmp_path / "rpc"), str(tmp_path / "line"))
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(tmp_path / "line"))

            def serve():
                with line.makefile("rwb") as file:
                    for request in iter(file.readline, b""):
                        file.write(b"\n" if request == b"nobody\n" else b"<" + request)
                        file.flush()
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            assert _ask(remote.path, b"one\n", b"two\n") == [b"<one\n", b"<two\n"]
            assert _ask(remote.path, b"nobody\n") == [b""]  # the connection is closed, as by a server that has ended
            assert _ask(remote.path, b"three\n") == [b"<three\n"]
            remote.close()
            thread.join(SECONDS)
    finally:
        remote.close()
    assert not (tmp_path / "rpc").exists() and not (tmp_path / "line").exists()


def test_a_socket_of_a_vm_that_never_came_closes_at_once(tmp_path):
    remote = RemoteSocket(str(tmp_path / "rpc"), str(tmp_path / "line"))
    remote.close()
    assert list(tmp_path.iterdir()) == []


def test_networks_behind_functions_do_not_overlap():
    assert wire.peer(0) == "10.77.0.1" and wire.guest(0) == "10.77.0.2/24"
    assert wire.peer(1).rpartition(".")[0] != wire.peer(0).rpartition(".")[0]


def test_too_many_functions_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(TestvmError, match="9 functions: expected at most 8"):
        HardwareVm(Supervisor("x", str(tmp_path)), [Function()] * 9, Cache(str(tmp_path / "cache")))


def test_the_emulated_machine_has_one_cpu(tmp_path):
    """With two, QEMU 7.2 loses interrupts, or dies, when one of them switches a PCI device on or off."""
    command = HardwareVm(Supervisor("x", str(tmp_path)), [Function()], Cache(str(tmp_path))).vm.machine.command("", "", "")
    assert _values(command, "-smp") == ["1"]


def test_the_emulated_machine_ends_instead_of_starting_again(tmp_path):
    """Nothing of what the tests have started would be there."""
    command = HardwareVm(Supervisor("x", str(tmp_path)), [Function()], Cache(str(tmp_path))).vm.machine.command("", "", "")
    assert "-no-reboot" in command


def test_a_run_directory_with_too_long_a_name(tmp_path):
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    with Supervisor("x", str(directory)) as supervisor, pytest.raises(TestvmError, match="shorter run directory"):
        HardwareVm(supervisor, [Function()], Cache(str(tmp_path / "cache")))


def test_a_configuration_with_one_port_over_all_functions():
    text = cli.port_configuration(["0000:00:10.0", "0000:00:11.0"], ["ring=\"shadow\"", "migratable=true"])
    assert '"vfio,device=0000:00:10.0", "vfio,device=0000:00:11.0"' in text
    assert 'ring = "shadow";' in text and "migratable = true;" in text


@pytest.mark.parametrize("arguments, words", [
    (["run", "--functions", "9"], ["'9'", "1 to 8"]),
    (["run", "--functions", "0"], ["'0'", "1 to 8"]),
    (["run", "--functions", "many"], ["'many'", "1 to 8"]),
    (["run", "--build-dir", "/nowhere"], ["/nowhere", "not a meson build directory"]),
    (["run", "--run-dir", "/nowhere"], ["/nowhere", "not a directory"]),
    ([], ["ACTION"]),
])
def test_the_command_says_what_is_wrong(tmp_path, arguments, words):
    done = subprocess.run([COMMAND, "--cache-dir", str(tmp_path), *arguments], capture_output=True, text=True,
                          timeout=SECONDS, check=False)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
