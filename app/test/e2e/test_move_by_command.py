# SPDX-License-Identifier: BSD-3-Clause
"""`ringpass-ctl move`, with a software backend as it is: one testpmd serves both ports' queues over librte_vhost,
another one is the frontend of both. Of what circulates between the moves nothing may be lost.

One softaccel serves all tests; each starts its own ringpassd, backend and frontend.
"""

import os

import pytest

import leaks
from ringpass_stack.backend_testpmd import NetVhost
from ringpass_stack.programs import Control, Function, Port, Ringpassd, Softaccel
from ringpass_stack.testpmd import Testpmd, VirtioUser, is_installed
from ringpass_testvm import Supervisor, netns, supervise
from ringpass_testvm.errors import TestvmError
from ringpass_testvm.supervise import tail

MACS = ("52:54:00:00:77:00", "52:54:00:00:77:01")
PORTS = ("vm0", "vm1")
RX, TX = 0, 1
# Between two moves; rings have 256 entries.
PACKETS = 3000
ROUNDS = 3
LIMIT_SECONDS = 120
LOG_LINES = 60
RECONNECT_MS = 100
# A request to the backend waits so long at most; also on a machine that is busy with other things.
TIMEOUT_MS = 10000

pytestmark = pytest.mark.skipif(not is_installed(), reason="dpdk-testpmd is not there (package dpdk-dev)")


@pytest.fixture(scope="module")
def host(build):
    """A Supervisor with a softaccel of two functions, each a port of its switch."""
    before = netns.interfaces()
    with Supervisor("e2e") as one:
        softaccel = Softaccel(one, build, functions(one))
        softaccel.start()
        yield one
        softaccel.process.require_alive()
        directory = one.directory
    assert leaks.remains(one.mark, directory) == []
    assert netns.interfaces() == before


def functions(host):
    return [Function(host.path(f"function{index}.sock"), mac, 1) for index, mac in enumerate(MACS)]


class Bench:
    """ringpassd with two ports, each with an accelerator and a software backend, and a frontend for both."""

    def __init__(self, host, build, packed):
        frontends = [host.path(f"{port}.sock") for port in PORTS]
        self.backends = [host.path(f"{port}-software.sock") for port in PORTS]
        self.ringpassd = Ringpassd(host, build, [
            Port(port, frontend, [f"vfio-user,socket={function.socket}"], queue_pairs=1,
                 more={"software": f'"{backend}"', "reconnect_ms": RECONNECT_MS, "software_reconnect_ms": RECONNECT_MS,
                       "software_timeout_ms": TIMEOUT_MS})
            for port, frontend, backend, function in zip(PORTS, frontends, self.backends, functions(host))])
        self.control = Control(build, self.ringpassd.rpc)
        self.backend = Testpmd(host, [NetVhost(socket) for socket in self.backends], "backend")
        self.frontend = Testpmd(host, [VirtioUser(socket, mac, peer, packed=packed)
                                       for socket, mac, peer in zip(frontends, MACS, reversed(MACS))])

    def start_backend(self):
        for socket in self.backends:
            if os.path.exists(socket):  # of one that was killed
                os.unlink(socket)
        self.backend.start()
        # A cable between its two ports.
        self.backend.command("set fwd io")
        self.backend.command("start")

    def start(self):
        self.ringpassd.start()
        self.start_backend()
        # No frontend is served before it is known what the backend can.
        supervise.wait_until(lambda: [self.control.show(port)["state"] for port in PORTS] == ["listening"] * 2,
                             LIMIT_SECONDS, "ports that listen", self.ringpassd.process.require_alive)
        self.frontend.start()
        self.wait("relayed")

    def close(self):
        for program in (self.frontend, self.backend, self.ringpassd):
            if program.process:
                program.stop()

    def wait(self, mode):
        return [self.control.wait_modes(port, mode, LIMIT_SECONDS) for port in PORTS]

    def move(self, port, wish, *queues):
        """@return what became of them, by number."""
        answer = self.control.ask("move", port, *map(str, queues), wish)
        assert (answer["port"], answer["wish"]) == (port, wish)
        return {queue["queue"]: queue for queue in answer["queues"]}

    def move_direction(self, sender, wish):
        """The two rings through which one port sends to the other: transmit first."""
        return {sender: self.move(PORTS[sender], wish, TX), 1 - sender: self.move(PORTS[1 - sender], wish, RX)}

    def circulate(self):
        counters = self.frontend.circulate(PACKETS, LIMIT_SECONDS)
        assert [one.errors for one in counters] == [{}, {}]
        for program in (self.frontend, self.ringpassd):
            program.process.require_alive()

    def carried_by_software(self):
        """Packets that the backend has received so far."""
        return sum(one.received for one in self.backend.counters())


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def bench(request, host, build):
    one = Bench(host, build, request.param)
    one.packed = request.param
    yield one
    one.close()
    if getattr(request.node, "has_failed", False):
        for name in ("softaccel", "ringpassd", "backend", "testpmd"):
            print(f"--- {name}{tail(host.path(name + '.log'), LOG_LINES)}")


def check(queues, owner, wish, to_hardware, to_software):
    for queue in queues:
        assert (queue["owner"], queue["wish"], queue["wish_reason"]) == (owner, wish, ""), queue
        assert queue["mode"] == ("software" if owner == "software" else "relayed")
        assert (queue["moves_to_hardware"], queue["moves_to_software"]) == (to_hardware, to_software)
        assert queue["blackouts"] == to_hardware + to_software
        figures = [queue[f"blackout_{name}_us"] for name in ("min", "median", "max")]
        assert figures == ([None] * 3 if queue["blackouts"] == 0 else sorted(figures))
        assert (queue["redone"], queue["lost"]) == (0, 0)


def test_there_and_back(bench):
    bench.start()
    for port in PORTS:
        check(bench.control.show(port)["queues"], "hardware", "auto", 0, 0)
    for rounds in range(ROUNDS):
        before = bench.carried_by_software()
        bench.circulate()
        assert bench.carried_by_software() == before
        for port in PORTS:
            check(bench.move(port, "software").values(), "software", "software", rounds, rounds + 1)
        bench.circulate()
        assert bench.carried_by_software() >= before + 2 * PACKETS
        for port in PORTS:
            wish = ("hardware", "auto")[rounds % 2]
            check(bench.move(port, wish).values(), "hardware", wish, rounds + 1, rounds + 1)
    bench.circulate()
    shown = bench.control.show(PORTS[0])
    software = shown["software"]
    assert (software["state"], software["kind"], software["timeouts"]) == ("usable", "librte_vhost", 0)
    assert software["pid"] == bench.backend.process.pid
    assert (software["connections"], software["queues"]) == (1, 0)


def test_one_ring_of_a_pair(bench):
    """One direction through the software backend, the other through the accelerator."""
    bench.start()
    for sender in (0, 1):
        before = bench.carried_by_software()
        moved = bench.move_direction(sender, "software")
        for queues in moved.values():
            check(queues.values(), "software", "software", 0, 1)
        shown = [bench.control.show(port)["queues"] for port in PORTS]
        assert [[queue["owner"] for queue in queues] for queues in shown] == [
            ["hardware" if port == sender else "software", "software" if port == sender else "hardware"]
            for port in (0, 1)]
        bench.circulate()
        carried = bench.carried_by_software() - before
        assert PACKETS <= carried
        bench.move_direction(sender, "auto")
        bench.circulate()
        assert bench.carried_by_software() - before == carried
    for port in PORTS:
        check(bench.control.show(port)["queues"], "hardware", "auto", 1, 1)


def test_a_wish_comes_true_later(bench):
    """The backend is killed: refused, and hardware goes on; it comes back, and has the queues without another word."""
    bench.start()
    bench.circulate()
    bench.backend.kill()
    for port in PORTS:
        with pytest.raises(TestvmError, match="ENOTCONN"):
            bench.move(port, "software")
        for queue in bench.control.show(port)["queues"]:
            assert (queue["owner"], queue["wish"]) == ("hardware", "software")
            assert "software backend" in queue["wish_reason"]
    bench.circulate()
    bench.start_backend()
    bench.wait("software")
    before = bench.carried_by_software()
    bench.circulate()
    assert bench.carried_by_software() >= before + 2 * PACKETS
    software = bench.control.show(PORTS[0])["software"]
    # One that dies may have accepted another before.
    assert software["connections"] >= 2 and software["pid"] == bench.backend.process.pid
