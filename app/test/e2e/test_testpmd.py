# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd with two virtio-user ports on one softaccel: packets both ways, counted at every queue.

virtio-user is a vhost-user frontend that polls, has no backend channel and asks for no answers: it takes other
ways through the port than QEMU does. One softaccel serves all tests; each starts a ringpassd and a testpmd.
"""

import os

import pytest

import leaks
from ringpass_stack.programs import Control, Function, Port, Ringpassd, Softaccel
from ringpass_stack.testpmd import Testpmd, VirtioUser, is_installed
from ringpass_testvm import Supervisor, netns
from ringpass_testvm.supervise import tail

PACKED_BIT = 34
MQ_BIT = 22
# Each ring's 16-bit index wraps, and the packed ring's wrap counter flips hundreds of times.
PACKETS = 70_000
LIMIT_SECONDS = 120
BURST = 32
LOG_LINES = 40
RECONNECT_MS = 100
# Queue pairs of each accelerator of a port.
LAYOUTS = {"one-queue": (1,), "two-queues": (2,), "two-accelerators": (1, 1)}

pytestmark = pytest.mark.skipif(not is_installed(), reason="dpdk-testpmd is not there (package dpdk-dev)")


def macs(layout):
    """Of its two ports. Not those of another layout: the switch remembers where it has seen them."""
    return [f"52:54:00:00:{list(LAYOUTS).index(layout):02x}:{port:02x}" for port in range(2)]


def functions(directory, layout):
    """[port][accelerator] of that layout."""
    return [[Function(os.path.join(directory, f"{layout}-{port}-{number}.sock"), mac, pairs, f"{layout}{port}")
             for number, pairs in enumerate(LAYOUTS[layout])] for port, mac in enumerate(macs(layout))]


@pytest.fixture(scope="module")
def host(build):
    """A Supervisor with a softaccel that has two switch ports for each layout."""
    before = netns.interfaces()
    with Supervisor("e2e") as one:
        directory = one.directory
        softaccel = Softaccel(one, build, [function for layout in LAYOUTS for port in functions(directory, layout)
                                           for function in port])
        softaccel.start()
        yield one
        softaccel.process.require_alive()
    assert leaks.remains(one.mark, directory) == []
    assert netns.interfaces() == before


class Bench:
    """ringpassd with two ports, and a testpmd with one virtio-user port on each."""

    def __init__(self, host, build, layout, packed, listens, **device):
        """listens: testpmd is the server of the sockets, and ringpassd connects. device: options of VirtioUser."""
        sockets = [host.path(f"vm{index}.sock") for index in range(2)]
        self.queues = sum(LAYOUTS[layout])
        self.packed = packed
        self.listens = listens
        self.ports = [f"vm{index}" for index in range(2)]
        self.sockets = sockets
        self.ringpassd = Ringpassd(host, build, [
            Port(name, socket, [f"vfio-user,socket={one.socket}" for one in own], "client" if listens else "server",
                 self.queues, {"reconnect_ms": RECONNECT_MS})
            for name, socket, own in zip(self.ports, sockets, functions(host.directory, layout))])
        self.control = Control(build, self.ringpassd.rpc)
        self.testpmd = Testpmd(host, [
            VirtioUser(socket, mac, peer, queues=self.queues, packed=packed, listens=listens, **device)
            for socket, mac, peer in zip(sockets, macs(layout), reversed(macs(layout)))])

    def start(self):
        self.ringpassd.start()
        self.testpmd.start()
        self.wait_modes("relayed")

    def close(self):
        if self.testpmd.process:
            self.testpmd.stop()
        if self.ringpassd.process:
            self.ringpassd.stop()
        for socket in self.sockets:
            if os.path.exists(socket):  # a testpmd that was ended by a signal leaves it
                os.unlink(socket)

    def alive(self):
        self.ringpassd.process.require_alive()
        self.testpmd.process.require_alive()

    def wait_modes(self, mode):
        return [self.control.wait_modes(port, mode, LIMIT_SECONDS) for port in self.ports]

    def shown(self):
        return [self.control.show(port) for port in self.ports]

    def circulate(self):
        """Traffic both ways over every queue, of which nothing is lost. @return PortCounters."""
        counters = self.testpmd.circulate(PACKETS, LIMIT_SECONDS)
        assert [one.errors for one in counters] == [{}, {}]
        self.alive()
        return counters

    def run_into_a_kill(self, program):
        """The program ends while packets are under way on every queue."""
        self.testpmd.command("set fwd io")
        self.testpmd.command("start tx_first 1")
        self.testpmd.wait_carried(BURST, LIMIT_SECONDS)
        program.kill()


@pytest.fixture
def make_bench(request, host, build):
    benches = []

    def make(*arguments, **options):
        benches.append(Bench(host, build, *arguments, **options))
        return benches[-1]
    yield make
    for bench in benches:
        bench.close()
    if getattr(request.node, "has_failed", False):
        for name in ("softaccel", "ringpassd", "testpmd"):
            print(f"--- {name}{tail(host.path(name + '.log'), LOG_LINES)}")


packed_or_split = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
who_listens = pytest.mark.parametrize("listens", [False, True], ids=["testpmd-connects", "testpmd-listens"])


def check_features(bench, shown):
    acked = int(shown["features_acked"], 16)
    assert bool(acked >> PACKED_BIT & 1) == bench.packed
    assert bool(acked >> MQ_BIT & 1) == (bench.queues > 1)


def check_queues(shown, counters):
    """What the device has counted at its end of each ring is what testpmd has at the other."""
    for queue in shown["queues"]:
        pair, sends = divmod(queue["queue"], 2)
        assert queue["packets"] == (counters.tx if sends else counters.rx)[pair], queue
        assert queue["packets"] >= PACKETS
        assert queue["errors"] == 0
        assert (queue["direct_kicks"], queue["doorbell"]) == (0, "unmapped")
        assert queue["relayed_kicks"] > 0
        assert queue["relayed_interrupts"] == 0
        assert queue["reason"] == "the frontend opened no backend channel"


@packed_or_split
@who_listens
@pytest.mark.parametrize("layout", LAYOUTS)
def test_traffic(make_bench, layout, packed, listens):
    bench = make_bench(layout, packed, listens)
    bench.start()
    counters = bench.circulate()
    for shown, one in zip(bench.shown(), counters):
        check_features(bench, shown)
        check_queues(shown, one)
    assert bench.testpmd.quit() == 0
    for shown in bench.wait_modes("stopped"):
        assert {queue["reason"] for queue in shown["queues"]} == {"no frontend is connected"}
    assert bench.ringpassd.stop() == 0
    assert not any(os.path.exists(socket) for socket in bench.sockets)


@packed_or_split
@pytest.mark.parametrize("more", ["in_order=0", "mrg_rxbuf=0", "in_order=0,mrg_rxbuf=0,vectorized=1"])
def test_other_ways_through_the_driver(make_bench, packed, more):
    """virtio-user fills and empties its rings by other functions, with what it negotiates."""
    bench = make_bench("one-queue", packed, False, more=more)
    bench.start()
    counters = bench.circulate()
    for shown, one in zip(bench.shown(), counters):
        check_features(bench, shown)
        check_queues(shown, one)


def bring_ringpassd_back(bench):
    bench.testpmd.wait_links(0, LIMIT_SECONDS)
    bench.testpmd.command("stop")
    bench.ringpassd.start()
    if not bench.listens:
        bench.testpmd.replace_ports()
    bench.testpmd.wait_links(2, LIMIT_SECONDS)
    bench.wait_modes("relayed")


@packed_or_split
@who_listens
def test_ringpassd_restarts(make_bench, packed, listens):
    """As server, virtio-user keeps its rings and goes on; as client, it is replaced while testpmd runs on."""
    bench = make_bench("two-accelerators", packed, listens)
    bench.start()
    bench.circulate()
    bench.ringpassd.kill()
    bring_ringpassd_back(bench)
    bench.circulate()
    bench.run_into_a_kill(bench.ringpassd)
    bring_ringpassd_back(bench)
    # What was under way when it was killed may be lost, and nothing else.
    counters = bench.testpmd.circulate(PACKETS, LIMIT_SECONDS, lost_max=bench.queues * BURST)
    assert [one.errors for one in counters] == [{}, {}]
    assert bench.testpmd.quit() == 0


@packed_or_split
@who_listens
def test_testpmd_restarts(make_bench, packed, listens):
    bench = make_bench("two-accelerators", packed, listens)
    bench.start()
    bench.circulate()
    assert bench.testpmd.quit() == 0
    bench.wait_modes("stopped")
    bench.testpmd.start()
    bench.wait_modes("relayed")
    bench.circulate()
    bench.run_into_a_kill(bench.testpmd)
    bench.wait_modes("stopped")
    if listens:
        for socket in bench.sockets:  # it refuses to start when its socket is there
            os.unlink(socket)
    bench.testpmd.start()
    bench.wait_modes("relayed")
    bench.circulate()


def test_a_ring_that_is_too_large(make_bench):
    """testpmd shows a link and loses every packet; the port says why."""
    bench = make_bench("one-queue", False, False, queue_size=2048)
    bench.ringpassd.start()
    bench.testpmd.start()
    for shown in bench.wait_modes("stopped"):
        for queue in shown["queues"]:
            assert "SET_VRING_NUM: num: 2048, expected a power of two up to 1024" in queue["reason"]
