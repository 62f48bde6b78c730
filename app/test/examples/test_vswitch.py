# SPDX-License-Identifier: BSD-3-Clause
"""examples/vswitch without a guest: its arguments, its end, and testpmd's packets while queues move."""

import contextlib
import os
import pathlib
import random
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_stack.programs import Build, Function  # noqa: E402
from ringpass_stack.testpmd import Testpmd, VirtioUser, is_installed  # noqa: E402
from ringpass_stack.vswitch import WIRE, Vswitch, WiredSoftaccel  # noqa: E402
from ringpass_testvm import Supervisor, TestvmError  # noqa: E402
from ringpass_testvm.supervise import tail  # noqa: E402

SECONDS = 120
LOG_LINES = 40
QUEUES = 2
PACKETS = 2000  # of each queue, between two moves
MOVES = 40
MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")


@pytest.fixture(scope="module")
def build():
    return Build(os.environ.get("RINGPASS_BUILD_DIR") or TOP / "build")


@pytest.fixture
def supervisor():
    with Supervisor("vswitch") as one:
        yield one


def require_no_sockets(supervisor):
    assert [name for name in os.listdir(supervisor.directory) if name.endswith(".sock")] == []


def run(build, *arguments):
    program = os.path.join(build.directory, "examples", "vswitch", "vswitch")
    return subprocess.run([program, "--", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False,
                          stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("arguments, words", [
    ([], "no port, expected --guest or --ethdev after --"),
    (["--guest", "socket=/s"], "--guest: name: missing, expected name=..."),
    (["--guest", "name=a"], "--guest: socket: missing, expected socket=..."),
    (["--guest", "name=a,socket=/s,queue_pairs=65"], "--guest: queue_pairs: '65', expected a number from 1 to 64"),
    (["--guest", "name=a,socket=/s,queue_pairs=0"], "--guest: queue_pairs: '0', expected a number from 1 to 64"),
    (["--guest", "name=a,socket=/s,wish=none"], "--guest: wish: 'none', expected software, hardware or auto"),
    (["--guest", "name=a,socket=/s,mode=x"], "--guest: mode: 'x', expected server or client"),
    (["--guest", "name=a,socket=/s,ringpass=off,mode=client"],
     "--guest: ringpass: 'off', expected no wire and mode=server"),
    (["--guest", "name=a,socket=/s,colour=red"], "--guest: unknown key 'colour', expected one of name, socket, mode, "
     "queue_pairs, wish, wire, ringpass"),
    (["--guest", "name=a,socket=/s", "--guest", "name=a,socket=/t"], "--guest: name: 'a' is another guest's"),
    (["--guest", "name=a,socket=/s", "--guest", "name=b,socket=/s"], "--guest: socket: '/s' is another guest's"),
    (["--accelerator", "vfio-user,socket=/f"], "--accelerator: expected after a --guest with ringpass=on"),
    (["--idle-us", "x", "--ethdev", "e"], "--idle-us: 'x', expected a number from 0 to 100000"),
    (["--control"], "--control: has no value, expected one"),
    (["--colour"], "--colour: unknown argument, expected one that --help names"),
    (["extra"], "extra: unknown argument, expected one that --help names"),
])
def test_bad_arguments(build, arguments, words):
    done = run(build, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"vswitch: {words}\n")


def test_help(build):
    done = run(build, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: vswitch ")


def test_an_ethdev_that_is_not_there(build, supervisor):
    switch = Vswitch(supervisor, build, [], ethdevs=["net_ring7"])
    with pytest.raises(TestvmError):
        switch.start()
    assert "--ethdev: 'net_ring7', expected the name of an ethdev" in switch.log()


def test_commands_and_the_end(build, supervisor):
    switch = Vswitch(supervisor, build, [[f"name=vm0,socket={supervisor.path('vm0.sock')},queue_pairs=2"]],
                     ethdevs=["net_ring0"], vdevs=["net_ring0"])
    switch.start()
    assert [line.split()[:2] for line in switch.command("ports")] == [["net_ring0", "ethdev"], ["vm0", "guest"]]
    assert switch.command("# nothing") == []
    assert any(line.startswith("offload ") for line in switch.command("help"))
    for line, words in (("show vm1", "port: 'vm1'"), ("offload net_ring0", "port: 'net_ring0'"), ("jump", "'jump'")):
        with pytest.raises(TestvmError, match=words):
            switch.command(line)
    switch.wait_listening()
    ports = switch.telemetry("/vswitch/ports")
    assert [(port["name"], port["kind"]) for port in ports.values()] == [("net_ring0", "ethdev"), ("vm0", "guest")]
    assert len(switch.queues("vm0")) == 4
    assert switch.telemetry("/vswitch/stats,vm0")["drop_no_queue"] == 0
    assert switch.telemetry("/vswitch/stats,vm1") is None
    assert switch.stop() == 0
    require_no_sockets(supervisor)


def test_quit(build, supervisor):
    switch = Vswitch(supervisor, build, [], ethdevs=["net_ring0"], vdevs=["net_ring0"])
    switch.start()
    switch.command("quit")
    assert switch.wait(SECONDS) == 0
    require_no_sockets(supervisor)


def test_standard_input(build, supervisor):
    switch = Vswitch(supervisor, build, [], ethdevs=["net_ring0"], vdevs=["net_ring0"])
    done = subprocess.run(switch.command_line(), input="ports\njump\nquit\n", capture_output=True, text=True,
                          timeout=SECONDS, check=False, env={**os.environ, "RUNTIME_DIRECTORY": supervisor.directory})
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[lines.index("vswitch: ready") + 1].startswith("net_ring0 ethdev ")
    assert lines[-3:] == ["ok", "error: command: 'jump', expected one that 'help' names", "ok"]
    require_no_sockets(supervisor)


def hung_up(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_talks_too_much(build, supervisor):
    """Too long a line, too many at once, one that never reads: they are hung up on, and the switch goes on."""
    switch = Vswitch(supervisor, build, [], ethdevs=["net_ring0"], vdevs=["net_ring0"])
    switch.start()
    with contextlib.ExitStack() as stack:
        talkers = [stack.enter_context(switch.connect()) for _ in range(5)]
        assert hung_up(talkers[4])
        talkers[0].sendall(b"x" * 2000)
        assert hung_up(talkers[0])
        with pytest.raises(OSError):
            while True:
                talkers[1].send(b"help\n" * 1000)
    assert switch.command("ports")
    assert switch.stop() == 0
    require_no_sockets(supervisor)


class Bench:
    """vm0 has an accelerator, vm1 has not; both are ports of one testpmd."""

    def __init__(self, supervisor, build, packed):
        sockets = [supervisor.path(f"vm{index}.sock") for index in range(2)]
        function = Function(supervisor.path("f0.sock"), MACS[0], QUEUES)
        wire = supervisor.path("wire.sock")
        self.softaccel = WiredSoftaccel(supervisor, build, [function], wire)
        self.switch = Vswitch(supervisor, build, [
            [f"name=vm0,socket={sockets[0]},queue_pairs={QUEUES},wire={WIRE}", f"vfio-user,socket={function.socket}"],
            [f"name=vm1,socket={sockets[1]},queue_pairs={QUEUES}"]], wire=wire)
        self.testpmd = Testpmd(supervisor, [VirtioUser(socket, mac, peer, QUEUES, packed=packed)
                                            for socket, mac, peer in zip(sockets, MACS, reversed(MACS))])

    def start(self):
        self.softaccel.start()
        self.switch.start()
        self.switch.wait_listening()
        self.testpmd.start()
        self.switch.wait_owners("vm0", "software")
        self.switch.wait_link("vm0")

    def end(self, supervisor):
        assert self.testpmd.quit() == 0
        assert self.switch.stop() == 0
        assert self.softaccel.stop() == 0
        require_no_sockets(supervisor)


@pytest.fixture
def make_bench(request, supervisor, build):
    def make(packed=False):
        bench = Bench(supervisor, build, packed)
        bench.start()
        return bench
    yield make
    for name in ("softaccel", "vswitch", "testpmd"):
        if os.path.exists(supervisor.path(f"{name}.log")):
            print(f"--- {name}{tail(supervisor.path(f'{name}.log'), LOG_LINES)}")


needs_testpmd = pytest.mark.skipif(not is_installed(), reason="dpdk-testpmd is not there (package dpdk-dev)")


def move_at_random(bench, pairs_at_once):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    owners = {queue: "software" for queue in range(2 * QUEUES)}
    for _ in range(MOVES):
        pairs = dice.sample(range(QUEUES), dice.choice(pairs_at_once))
        queues = [queue for pair in pairs for queue in (2 * pair, 2 * pair + 1)]
        verb, owner = dice.choice((("offload", "hardware"), ("take-back", "software")))
        owners.update(dict.fromkeys(queues, owner))
        bench.switch.command(" ".join([verb, "vm0", *map(str, queues)]))
        bench.switch.wait_owners("vm0", owners)
        bench.testpmd.wait_carried(1, SECONDS)


@needs_testpmd
@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_packets_while_queues_move(make_bench, supervisor, packed):
    """What is under way when a queue moves arrives: the burst of each queue goes round and round, and is whole at the
    end."""
    bench = make_bench(packed)
    testpmd = bench.testpmd
    testpmd.command("set fwd io")
    testpmd.command("start tx_first 1")
    testpmd.wait_carried(PACKETS, SECONDS)
    move_at_random(bench, range(1, QUEUES + 1))
    testpmd.command("stop")
    counters = testpmd.drain(SECONDS)
    print("\n".join(bench.switch.command("stats") + bench.switch.command("show vm0")))
    assert [one.errors for one in counters] == [{}, {}]
    stats, other = bench.switch.stats("vm0"), bench.switch.stats("vm1")
    assert stats["in_hardware"] > 0 and stats["out_hardware"] > 0
    assert {name: value for one in (stats, other) for name, value in one.items()
            if name.startswith("drop_") and value} == {}
    # The books balance to the frame.
    assert stats["in_software"] + stats["in_hardware"] == other["out_software"]
    assert stats["out_software"] + stats["out_hardware"] == other["in_software"]
    bench.end(supervisor)


@needs_testpmd
def test_an_accelerator_that_dies(make_bench, supervisor):
    """Its queues are librte_vhost's then, and the accelerator's again when it is back; so is the wire."""
    bench = make_bench()
    bench.switch.command("auto vm0")
    bench.switch.wait_owners("vm0", "hardware")
    bench.testpmd.circulate(PACKETS, SECONDS)
    bench.softaccel.kill()
    bench.switch.wait_owners("vm0", "software")
    bench.testpmd.circulate(PACKETS, SECONDS)
    bench.softaccel.start()
    bench.switch.wait_owners("vm0", "hardware")
    bench.switch.wait_link("vm0")
    before = bench.switch.stats("vm0")
    bench.testpmd.circulate(PACKETS, SECONDS)
    after = bench.switch.stats("vm0")
    assert after["in_hardware"] > before["in_hardware"] and after["out_hardware"] > before["out_hardware"]
    bench.end(supervisor)


@needs_testpmd
def test_its_end_under_traffic(make_bench, supervisor):
    """SIGTERM while frontends are connected, queues are with the accelerator and packets flow."""
    bench = make_bench()
    bench.switch.command("offload vm0 2 3")
    bench.testpmd.command("set fwd io")
    bench.testpmd.command("start tx_first 1")
    bench.testpmd.wait_carried(PACKETS, SECONDS)
    assert bench.switch.stop() == 0
    assert bench.softaccel.stop() == 0
    bench.testpmd.kill()
    require_no_sockets(supervisor)
