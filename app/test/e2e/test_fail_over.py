# SPDX-License-Identifier: BSD-3-Clause
"""Two softaccels, each with a function for each of two ports: `ringpass-ctl transfer` moves the ports from one to
the other and back, and when the one that serves them is killed the other goes on. testpmd is the frontend of both ports.
"""

import pytest

import leaks
from ringpass_stack.programs import Control, Function, Port, Ringpassd, Softaccel
from ringpass_stack.testpmd import Testpmd, VirtioUser, is_installed
from ringpass_testvm import Supervisor, supervise
from ringpass_testvm.supervise import tail

MACS = ("52:54:00:00:78:00", "52:54:00:00:78:01")
PORTS = ("vm0", "vm1")
ACCELERATORS = (0, 1)
PACKETS = 1000
ROUNDS = 1
LIMIT_SECONDS = 120
LOG_LINES = 60
RECONNECT_MS = 50

pytestmark = pytest.mark.skipif(not is_installed(), reason="dpdk-testpmd is not there (package dpdk-dev)")


class Bench:
    def __init__(self, host, build, packed):
        self.softaccels = []
        functions = []
        for number in ACCELERATORS:
            functions.append([Function(host.path(f"accel{number}-{port}.sock"), mac, 1)
                              for port, mac in zip(PORTS, MACS)])
            self.softaccels.append(Softaccel(host, build, functions[-1], name=f"softaccel{number}"))
        sockets = [host.path(f"{port}.sock") for port in PORTS]
        self.ringpassd = Ringpassd(host, build, [
            Port(port, socket, [f"vfio-user,socket={functions[number][index].socket}" for number in ACCELERATORS],
                 queue_pairs=1, more={"fail_over": "true", "reconnect_ms": RECONNECT_MS})
            for index, (port, socket) in enumerate(zip(PORTS, sockets))])
        self.control = Control(build, self.ringpassd.rpc)
        self.frontend = Testpmd(host, [VirtioUser(socket, mac, peer, packed=packed)
                                       for socket, mac, peer in zip(sockets, MACS, reversed(MACS))])

    def start(self):
        for program in (*self.softaccels, self.ringpassd, self.frontend):
            program.start()
        for port in PORTS:
            self.control.wait_modes(port, "relayed", LIMIT_SECONDS)

    def close(self):
        for program in (self.frontend, self.ringpassd, *self.softaccels):
            if program.process:
                program.stop()

    def circulate(self):
        counters = self.frontend.circulate(PACKETS, LIMIT_SECONDS)
        assert [one.errors for one in counters] == [{}, {}]
        for program in (self.frontend, self.ringpassd):
            program.process.require_alive()

    def served_by(self, accelerator):
        """Whether all rings are, and run."""
        queues = [queue for port in PORTS for queue in self.control.show(port)["queues"]]
        return all((queue["accelerator"], queue["accelerator_queue"], queue["owner"]) ==
                   (accelerator, queue["queue"], "hardware") for queue in queues)

    def packets_of(self, accelerator):
        return sum(queue["packets"] for index in range(len(PORTS))
                   for queue in self.softaccels[accelerator].queues(index))


@pytest.fixture
def bench(request, build):
    with Supervisor("e2e") as host:
        one = Bench(host, build, request.param)
        try:
            one.start()
            yield one
        finally:
            one.close()
            if getattr(request.node, "has_failed", False):
                for name in ("softaccel0", "softaccel1", "ringpassd", "testpmd"):
                    print(f"--- {name}{tail(host.path(name + '.log'), LOG_LINES)}")
        directory = host.directory
    assert leaks.remains(host.mark, directory) == []


@pytest.mark.parametrize("bench", [True], ids=["packed"], indirect=True)
def test_by_command(bench):
    bench.circulate()
    for _ in range(ROUNDS):
        for accelerator in (1, 0):
            before = [bench.packets_of(number) for number in ACCELERATORS]
            for port in PORTS:
                answer = bench.control.ask("transfer", port, "--to", str(accelerator))
                assert (answer["port"], answer["accelerator"]) == (port, accelerator)
            assert bench.served_by(accelerator)
            bench.circulate()
            after = [bench.packets_of(number) for number in ACCELERATORS]
            # Each packet is counted where it is sent and where it is received.
            assert after[accelerator] >= before[accelerator] + 2 * PACKETS
            assert after[1 - accelerator] == before[1 - accelerator]
    for port in PORTS:
        for queue in bench.control.show(port)["queues"]:
            assert queue["moves_between_accelerators"] == 2 * ROUNDS
            assert (queue["redone"], queue["lost"]) == (0, 0)


@pytest.mark.parametrize("bench", [False], ids=["split"], indirect=True)
def test_killed(bench):
    """A packed ring's place would be gone with the device: app/test/lib/port/test_fail_over.c has that."""
    bench.circulate()
    bench.softaccels[0].kill()
    supervise.wait_until(lambda: bench.served_by(1), LIMIT_SECONDS, "rings on the other accelerator",
                         bench.ringpassd.process.require_alive)
    bench.circulate()
    assert bench.packets_of(1) >= 2 * PACKETS
    # It comes back, and what went stays where it is.
    bench.softaccels[0].start()
    bench.ringpassd.process.wait_for_line("event=accelerator-back", LIMIT_SECONDS)
    assert bench.served_by(1)
    bench.circulate()
