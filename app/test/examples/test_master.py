# SPDX-License-Identifier: BSD-3-Clause
"""examples/master against ringpassd with softaccel, in each profile, and against QEMU's storage daemon."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_stack.programs import Build, Control, Function, Port, Ringpassd, Softaccel  # noqa: E402
from ringpass_testvm import Supervisor  # noqa: E402
from ringpass_testvm.supervise import wait_until  # noqa: E402

SECONDS = 120
PROFILES = ("standard", "extended", "vfio2018")
PACKETS = 50
ROUNDS = 3
VFIO_BITS = {"standard": 0, "extended": 1 << 62, "vfio2018": 1 << 8}
HOST_NOTIFIER, SEND_FD = 1 << 11, 1 << 10
BLK_BYTES = 1 << 20


@pytest.fixture(scope="module")
def build():
    return Build(os.environ.get("RINGPASS_BUILD_DIR") or TOP / "build")


@pytest.fixture
def supervisor():
    with Supervisor("master") as one:
        yield one


def program(build):
    return os.path.join(build.directory, "examples", "master", "master")


def run(build, *arguments, check=True):
    done = subprocess.run([program(build), *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS,
                          check=False, stdin=subprocess.DEVNULL)
    if check:
        assert done.returncode == 0, done
    return done


def run_json(build, *arguments):
    return json.loads(run(build, *arguments, "--json").stdout)


class Host:
    """softaccel with one function, and ringpassd with one port on it."""

    def __init__(self, supervisor, build, profile, doorbell="page", mode="server", queue_pairs=2):
        self.socket = supervisor.path("vm0.sock")
        function = Function(supervisor.path("f0.sock"), "52:54:00:00:00:01", queue_pairs, "", doorbell)
        port = Port("vm0", self.socket, [f"vfio-user,socket={function.socket}"], mode, queue_pairs,
                    {"profile": f'"{profile}"', "doorbell_delay_ms": 1, "reconnect_ms": 100})
        self.softaccel = Softaccel(supervisor, build, [function])
        self.ringpassd = Ringpassd(supervisor, build, [port])
        self._control = Control(build, self.ringpassd.rpc)
        self.softaccel.start()
        self.ringpassd.start()

    def queues(self):
        return self._control.show("vm0")["queues"]

    def set_mode(self, policy):
        self._control.mode("vm0", policy)

    def require_alive(self):
        self.softaccel.process.require_alive()
        self.ringpassd.process.require_alive()


@pytest.mark.parametrize("rings", [[], ["--packed"]], ids=["split", "packed"])
@pytest.mark.parametrize("profile", PROFILES)
def test_kicks_are_stores_in_each_profile(supervisor, build, profile, rings):
    """Rounds are so long that the rings wrap, in the middle of one."""
    host = Host(supervisor, build, profile)
    seen = run_json(build, host.socket, "--profile", profile, "--queue-pairs", 2, "--packets", PACKETS,
                    "--rounds", ROUNDS, "--queue-size", 32, "--wait", 20000, *rings)
    assert seen["packed"] == bool(rings)
    features = int(seen["protocol_features"], 16)
    assert seen["profile"] == profile
    assert features & (VFIO_BITS[profile] or HOST_NOTIFIER)
    if profile == "vfio2018":
        assert features & (HOST_NOTIFIER | SEND_FD) == 0
    assert [queue["role"] for queue in seen["queues"]] == ["receive", "transmit"] * 2
    for queue in seen["queues"]:
        assert queue["doorbell"]
        assert queue["maps"] >= ROUNDS and queue["unmaps"] == ROUNDS
        assert queue["eventfd_kicks"] == 0
    for queue in seen["queues"][1::2]:
        assert queue["chains"] == PACKETS * ROUNDS
        assert 0 < queue["doorbell_kicks"] <= PACKETS * ROUNDS
        assert queue["interrupts"] > 0
    assert [queue["relayed_kicks"] for queue in host.queues()] == [0] * 4
    host.require_alive()


def test_all_the_queues_that_the_protocol_has(supervisor, build):
    host = Host(supervisor, build, "extended", queue_pairs=128)
    seen = run_json(build, host.socket, "--profile", "extended", "--queue-pairs", 128, "--queue-size", 16,
                    "--packets", 5, "--wait", 60000)
    assert len(seen["queues"]) == 256
    assert all(queue["doorbell"] and queue["eventfd_kicks"] == 0 for queue in seen["queues"])
    assert [queue["chains"] for queue in seen["queues"][1::2]] == [10] * 128
    host.require_alive()


@pytest.mark.parametrize("mine, theirs", [("standard", "extended"), ("extended", "standard")])
def test_host_notifier_is_what_two_profiles_share(supervisor, build, mine, theirs):
    host = Host(supervisor, build, theirs)
    seen = run_json(build, host.socket, "--profile", mine, "--wait", 20000, "--packets", 5)
    assert int(seen["protocol_features"], 16) & VFIO_BITS["extended"] == 0
    assert all(queue["doorbell"] for queue in seen["queues"])


@pytest.mark.parametrize("mine, theirs", [("vfio2018", "standard"), ("standard", "vfio2018")])
def test_nothing_in_common_is_kicks_by_eventfd(supervisor, build, mine, theirs):
    host = Host(supervisor, build, theirs)
    seen = run_json(build, host.socket, "--profile", mine, "--wait", 300, "--packets", 20)
    assert not any(queue["doorbell"] or queue["maps"] for queue in seen["queues"])
    assert seen["queues"][1]["chains"] == 40
    assert seen["queues"][1]["eventfd_kicks"] > 0
    host.require_alive()


def test_doorbells_that_cannot_be_mapped(supervisor, build):
    host = Host(supervisor, build, "extended", doorbell="none")
    seen = run_json(build, host.socket, "--profile", "extended", "--wait", 300, "--packets", 20)
    assert seen["queues"][1]["chains"] == 40
    assert seen["queues"][1]["eventfd_kicks"] > 0
    assert seen["queues"][1]["doorbell_kicks"] == 0


@pytest.fixture
def kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be used here")


@pytest.mark.parametrize("rings", [[], ["--packed"]], ids=["split", "packed"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_guest_of_kvm_kicks_and_is_interrupted(supervisor, build, kvm, profile, rings):
    """Its CPU's stores are the doorbells, and what the device signals is its interrupt: nothing goes through us."""
    host = Host(supervisor, build, profile)
    seen = run_json(build, host.socket, "--profile", profile, "--guest", "--queue-pairs", 2, "--packets", PACKETS,
                    "--rounds", ROUNDS, "--queue-size", 32, "--wait", 20000, *rings)
    assert seen["guest"]
    for queue in seen["queues"]:
        assert queue["doorbell"]
        assert queue["maps"] >= ROUNDS and queue["unmaps"] == ROUNDS
        assert queue["guest_kicks"] == queue["doorbell_kicks"]
        assert queue["eventfd_kicks"] == 0
    for queue, shown in zip(seen["queues"][1::2], host.queues()[1::2]):
        assert queue["chains"] == PACKETS * ROUNDS
        assert 0 < queue["guest_kicks"] <= PACKETS * ROUNDS
        assert 0 < queue["interrupts"]
        assert (shown["relayed_kicks"], shown["relayed_interrupts"]) == (0, 0)
        assert shown["direct_kicks"] <= queue["guest_kicks"]
    host.require_alive()


def test_a_guest_whose_doorbells_come_and_go(supervisor, build, kvm):
    host = Host(supervisor, build, "extended")
    master = supervisor.start("master", [program(build), host.socket, "--profile", "extended", "--guest", "--rounds",
                                         "1000000", "--packets", "10", "--wait", "200", "--json"])

    def wait_kicks(key):
        first = host.queues()[1][key]
        wait_until(lambda: host.queues()[1][key] > first, SECONDS, key, master.require_alive)
    for _ in range(3):
        host.set_mode("relay")
        wait_kicks("relayed_kicks")
        host.set_mode("auto")
        wait_kicks("direct_kicks")
    os.kill(master.pid, signal.SIGTERM)
    assert master.wait(SECONDS) == 0, master.log()
    queue = json.loads(master.log())["queues"][1]
    assert queue["doorbell_kicks"] > 0 and queue["eventfd_kicks"] > 0
    assert queue["guest_kicks"] == queue["doorbell_kicks"] + queue["eventfd_kicks"]
    assert queue["maps"] == queue["unmaps"] >= 3
    host.require_alive()


def test_table(supervisor, build):
    host = Host(supervisor, build, "extended")
    lines = run(build, host.socket, "--profile", "extended", "--rounds", 1, "--wait", 20000).stdout.splitlines()
    assert lines[0].startswith("profile extended, protocol features 0x4")
    assert lines[-3].split()[:3] == ["queue", "role", "doorbell"]
    assert lines[-2].split()[:4] == ["0", "receive", "yes", "1"]
    assert lines[-1].split()[:4] == ["1", "transmit", "yes", "1"]
    assert lines[-1].split()[-1] == "100"


def test_pauses(supervisor, build):
    """Somebody else looks while the rings stand: nothing goes on before a line has come."""
    host = Host(supervisor, build, "extended")
    with subprocess.Popen([program(build), host.socket, "--rounds", "1", "--packets", "7", "--wait", "20000", "--pause",
                           "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as master:
        supervisor.on_close(master.kill)
        assert master.stdout.readline() == "master: the rings have started\n"
        assert host.queues()[1]["mode"] == "direct"
        assert host.queues()[1]["direct_kicks"] == 0
        print(file=master.stdin, flush=True)
        assert master.stdout.readline() == "master: the work is done\n"
        assert 0 < host.queues()[1]["direct_kicks"] <= 7
        master.stdin.close()
        assert json.loads(master.stdout.readline())["queues"][1]["chains"] == 7
        assert master.wait(SECONDS) == 0


def test_the_vmm_listens(supervisor, build):
    socket = supervisor.path("vm0.sock")
    master = supervisor.start("master", [program(build), socket, "--listen", "--wait", "20000", "--json"])
    wait_until(lambda: os.path.exists(socket), SECONDS, "the master listens", master.require_alive)
    host = Host(supervisor, build, "standard", mode="client")
    assert master.wait(SECONDS) == 0, master.log()
    seen = json.loads(master.log())
    assert all(queue["doorbell"] for queue in seen["queues"])
    host.require_alive()


def test_the_backend_vanishes(supervisor, build):
    host = Host(supervisor, build, "standard")
    master = supervisor.start("master", [program(build), host.socket, "--rounds", "1000000"])
    # Its rings start anew with every round: what is seen of a moment says little.
    wait_until(lambda: all(queue["doorbell_maps"] > 0 for queue in host.queues()[:2]), SECONDS, "mapped once",
               master.require_alive)
    host.ringpassd.kill()
    assert master.wait(SECONDS) == 1
    assert "the backend is gone" in master.log()


@pytest.fixture
def disk(supervisor):
    """An unmodified backend of somebody else: (socket, what its disk holds)."""
    daemon = shutil.which("qemu-storage-daemon")
    if daemon is None:
        pytest.skip("qemu-storage-daemon is not installed (package qemu-system-common)")
    image, socket = supervisor.path("disk"), supervisor.path("blk.sock")
    content = os.urandom(BLK_BYTES)
    pathlib.Path(image).write_bytes(content)
    process = supervisor.start("storage", [
        daemon, "--blockdev", f"driver=file,filename={image},node-name=disk", "--export",
        f"type=vhost-user-blk,id=export,addr.type=unix,addr.path={socket},node-name=disk"])
    wait_until(lambda: os.path.exists(socket), SECONDS, "the storage daemon listens", process.require_alive)
    yield socket, content
    process.require_alive()


def test_a_sector_of_the_storage_daemon(build, disk):
    socket, content = disk
    seen = run_json(build, socket, "--blk", "--rounds", 5)
    assert seen["capacity_sectors"] == BLK_BYTES // 512
    assert bytes.fromhex(seen["sector"]) == content[:512]
    queue, = seen["queues"]
    assert (queue["chains"], queue["eventfd_kicks"], queue["maps"]) == (5, 5, 0)


def test_the_extension_means_nothing_to_it(build, disk):
    """It acks none of our bits, in no profile."""
    socket, content = disk
    for profile in ("extended", "vfio2018"):
        seen = run_json(build, socket, "--blk", "--profile", profile)
        assert bytes.fromhex(seen["sector"]) == content[:512]
        assert seen["queues"][0]["maps"] == 0


def test_a_guest_reads_a_sector(build, disk, kvm):
    """No doorbell: each kick of the guest's CPU is an ioeventfd, and goes straight to the daemon."""
    socket, content = disk
    seen = run_json(build, socket, "--blk", "--guest", "--rounds", 5)
    assert bytes.fromhex(seen["sector"]) == content[:512]
    queue, = seen["queues"]
    assert (queue["chains"], queue["eventfd_kicks"], queue["guest_kicks"]) == (5, 5, 5)
    assert queue["interrupts"] > 0
    assert (seen["vfio_files"], seen["files_added"], seen["files_removed"]) == (0, 0, 0)


@pytest.fixture
def loop(supervisor):
    """DPDK's own backend, which sends back what it gets: its socket."""
    testpmd = shutil.which("dpdk-testpmd")
    if testpmd is None:
        pytest.skip("dpdk-testpmd is not installed (package dpdk-dev)")
    socket = supervisor.path("pmd.sock")
    process = supervisor.start("testpmd", [
        testpmd, "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "256", "-l", "0,1",
        f"--file-prefix=rp{os.getpid()}", "--vdev", f"net_vhost0,iface={socket},queues=1", "--", "--no-mlockall",
        "--forward-mode=io", "--auto-start", "--total-num-mbufs=4096", "--stats-period=60"],
        {"RUNTIME_DIRECTORY": supervisor.directory})
    wait_until(lambda: os.path.exists(socket), SECONDS, "testpmd listens", process.require_alive)
    yield socket
    process.require_alive()


@pytest.mark.parametrize("rings", [[], ["--packed"]], ids=["split", "packed"])
def test_packets_go_round_through_testpmd(build, loop, rings):
    seen = run_json(build, loop, "--packets", 100, "--rounds", 3, "--wait", 0, *rings)
    receive, transmit = seen["queues"]
    assert transmit["chains"] == 300
    # The last ones of a round may be on their way when the ring stops.
    assert 0 < receive["chains"] <= 300
    assert not receive["doorbell"] and not transmit["doorbell"]


@pytest.mark.parametrize("arguments, words", [
    ([], ["SOCKET", "missing"]),
    (["s", "t"], ["'t'", "one SOCKET"]),
    (["s", "--profile", "2018"], ["--profile", "'2018'", "standard, extended or vfio2018"]),
    (["s", "--queue-pairs", "0"], ["--queue-pairs", "'0'", "1 to 128"]),
    (["s", "--queue-pairs", "129"], ["--queue-pairs", "'129'"]),
    (["s", "--queue-size", "100"], ["--queue-size", "'100'", "power of two"]),
    (["s", "--packets", "many"], ["--packets", "'many'"]),
    (["s", "--rounds", "0"], ["--rounds", "'0'"]),
    (["s", "--guest", "--queue-pairs", "33"], ["--queue-pairs", "'33'", "at most 32", "--guest"]),
    (["s", "--wait", "-1"], ["--wait", "'-1'"]),
])
def test_bad_arguments(build, arguments, words):
    done = run(build, *arguments, check=False)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr.splitlines()[0]


def test_nobody_listens(build, supervisor):
    done = run(build, supervisor.path("nobody"), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"master: {supervisor.path('nobody')}: ")
    assert len(done.stderr.splitlines()) == 1
