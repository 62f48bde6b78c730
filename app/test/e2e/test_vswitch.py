# SPDX-License-Identifier: BSD-3-Clause
"""examples/vswitch: guests on librte_vhost and on an accelerator, in one network, in turns."""

import concurrent.futures
import os
import threading
import time

import pytest

from ringpass_stack import transfer
from ringpass_stack.ping import PingStream, ping
from ringpass_stack.programs import Control, Function, Port, Ringpassd
from ringpass_stack.scenario import PREFIX_LENGTH, UPLINK_ADDRESS, require_all
from ringpass_stack.vswitch import WIRE, Vswitch, WiredSoftaccel
from ringpass_testvm import Nic, TestvmError, VhostUser, Vm, prepare

PINGS = 30
BYTES = 4 << 20
MAC = "52:54:00:00:00:01"
ADDRESS = "10.77.0.2"
MODE_SECONDS = 60
ROUNDS = 5
PAUSE_SECONDS = 0.3  # between moves, for pings on either side


class Bench:
    """A TAP interface, the switch, and guests by their sockets."""

    def __init__(self, supervisor, build, store):
        self.supervisor = supervisor
        self.build = build
        self._store = store
        self.tap = f"rp{os.getpid()}"
        self.wire = supervisor.path("wire.sock")
        self.switch = None
        self._softaccel = None
        self.dropped = {}  # before the first move

    def start_switch(self, *guests, **options):
        self.switch = Vswitch(self.supervisor, self.build, guests, self.tap, **options)
        self.switch.start(f"{UPLINK_ADDRESS}/{PREFIX_LENGTH}")

    def start_with_accelerator(self, *more_guests, queue_pairs=1):
        """Guest 0 has one, behind the wire. @return it."""
        function = Function(self.supervisor.path("f0.sock"), MAC, queue_pairs)
        self._softaccel = WiredSoftaccel(self.supervisor, self.build, [function], self.wire)
        self._softaccel.start()
        first = self.guest(more=f",queue_pairs={queue_pairs},wire={WIRE}")
        self.start_switch([first, f"vfio-user,socket={function.socket}"], *([one] for one in more_guests),
                          wire=self.wire)
        return self._softaccel

    def end_accelerator(self):
        assert self._softaccel.stop() == 0

    def boot(self, number=0, queue_pairs=1):
        nic = Nic(VhostUser(self.supervisor.path(f"vm{number}.sock"), reconnect=1), f"{MAC[:-1]}{number + 1}", queue_pairs)
        vm = Vm(self.supervisor, f"guest{number}", prepare.machine([nic], self._store))
        vm.start()
        vm.set_address(0, f"10.77.0.{number + 2}/{PREFIX_LENGTH}")
        return vm

    def guest(self, number=0, more=""):
        """Argument of --guest."""
        return f"name=vm{number},socket={self.supervisor.path(f'vm{number}.sock')}{more}"

    def move(self, command, owners):
        self.dropped = self.dropped or self.switch.stats("vm0")
        self.switch.command(command)
        self.switch.wait_owners("vm0", owners)
        time.sleep(PAUSE_SECONDS)

    def finish(self, sockets=()):
        assert self.switch.stop() == 0
        left = [path for path in (*sockets, self.supervisor.path("vm0.sock"), self.supervisor.path("control.sock"))
                if os.path.exists(path)]
        assert left == []


@pytest.fixture
def bench(request, supervisor, build, store):
    one = Bench(supervisor, build, store)
    yield one
    if getattr(request.node, "has_failed", False) and one.switch and one.switch.process:
        print("\n".join(one.switch.command("ports") + one.switch.command("stats") + one.switch.command("show")))


def carry_over(vm):
    """Random bytes there and back; the checksums agree."""
    sent = transfer.to_guest(vm, UPLINK_ADDRESS, BYTES)
    transfer.from_guest(vm, UPLINK_ADDRESS, sent)


def exercise(vm):
    require_all(ping(vm, UPLINK_ADDRESS, PINGS), "pings")
    carry_over(vm)


def test_librte_vhost_alone(bench):
    """What the switch is without Ringpass: the guest is on librte_vhost's socket."""
    bench.start_switch([bench.guest(more=",ringpass=off")])
    vm = bench.boot()
    exercise(vm)
    stats = bench.switch.stats("vm0")
    assert stats["in_software"] > PINGS and stats["out_software"] > PINGS
    assert (stats["in_hardware"], stats["out_hardware"]) == (0, 0)
    assert stats["drop_queue_full"] == 0
    ports = bench.switch.telemetry("/vswitch/ports")
    assert [port["macs"] for port in ports.values()] == [1, 1]
    vm.stop()
    bench.finish()


def test_the_wire_of_an_accelerator(bench):
    """softaccel's uplink and a port of the switch are one memif: what is behind them is one network."""
    function = Function(bench.supervisor.path("f0.sock"), MAC, 1)
    softaccel = WiredSoftaccel(bench.supervisor, bench.build, [function], bench.wire)
    softaccel.start()
    bench.start_switch(wire=bench.wire, ethdevs=[WIRE])
    ringpassd = Ringpassd(bench.supervisor, bench.build, [
        Port("vm0", bench.supervisor.path("vm0.sock"), [f"vfio-user,socket={function.socket}"], queue_pairs=1)])
    ringpassd.start()
    vm = bench.boot()
    Control(bench.build, ringpassd.rpc).wait_modes("vm0", "direct", MODE_SECONDS)
    exercise(vm)
    assert bench.switch.stats(WIRE)["in_ethdev"] > PINGS
    vm.stop()
    assert ringpassd.stop() == 0
    assert softaccel.stop() == 0
    bench.finish([bench.wire])


def test_software_behind_ringpass(bench):
    """No accelerator at all: librte_vhost serves every queue of the port, two pairs of them, as it does without."""
    bench.start_switch([bench.guest(more=",queue_pairs=2")])
    vm = bench.boot(queue_pairs=2)
    exercise(vm)
    bench.switch.wait_owners("vm0", "software")
    with pytest.raises(TestvmError, match="error: "):
        bench.switch.command("offload vm0 9")
    exercise(vm)
    vm.reboot()
    vm.set_address(0, f"{ADDRESS}/{PREFIX_LENGTH}")
    exercise(vm)
    vm.stop()
    bench.finish()


def test_guests_reach_each_other(bench):
    """One on librte_vhost, one on its accelerator: through the switch, and the wire."""
    function = bench.start_with_accelerator(bench.guest(1))
    one, other = bench.boot(0), bench.boot(1)
    bench.switch.command("offload vm0")
    bench.switch.wait_owners("vm0", "hardware")
    bench.switch.wait_owners("vm1", "software")
    require_all(ping(one, "10.77.0.3", PINGS), "from the accelerator")
    require_all(ping(other, ADDRESS, PINGS), "to the accelerator")
    assert function.queues(0)[1]["packets"] > PINGS
    for vm in (one, other):
        vm.stop()
    bench.end_accelerator()
    bench.finish([bench.wire])


HARDWARE = dict.fromkeys(range(4), "hardware")
SOFTWARE = dict.fromkeys(range(4), "software")
FIRST_PAIR = {0: "hardware", 1: "hardware", 2: "software", 3: "software"}


def move_round(bench):
    """The queues of two pairs, all at once and by the pair."""
    bench.move("offload vm0", HARDWARE)
    bench.move("take-back vm0 2 3", FIRST_PAIR)
    bench.move("take-back vm0", SOFTWARE)
    bench.move("offload vm0 0 1", FIRST_PAIR)
    bench.move("take-back vm0 0 1", SOFTWARE)


def move_while(bench, work):
    """@return how many rounds of moves there were meanwhile."""
    done = threading.Event()

    def keep_moving():
        rounds = 0
        while not done.is_set():
            move_round(bench)
            rounds += 1
        return rounds
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        rounds = pool.submit(keep_moving)
        try:
            work()
        finally:
            done.set()
        return rounds.result()


def test_offload_and_take_back(bench):
    """Pings, and then a transfer, go on while the queues go to the accelerator and back; no ping is lost."""
    softaccel = bench.start_with_accelerator(queue_pairs=2)
    vm = bench.boot(queue_pairs=2)
    exercise(vm)
    bench.switch.wait_owners("vm0", "software")
    pings = PingStream(vm, UPLINK_ADDRESS)
    for _ in range(ROUNDS):
        move_round(bench)
    report = require_all(pings.finish(), "pings while queues move")
    queues = bench.switch.queues("vm0")
    print(f"{report.received} of {report.sent} pings answered in {ROUNDS} rounds; "
          f"blackout of queue 0: median {queues[0]['blackout_median_us']} us, most {queues[0]['blackout_max_us']} us")
    assert queues[0]["moves"] >= 4 * ROUNDS
    stats = bench.switch.stats("vm0")
    assert stats["in_hardware"] > 0 and stats["in_software"] > 0
    assert (stats["drop_queue_full"], stats["drop_no_queue"]) == (bench.dropped["drop_queue_full"],
                                                                  bench.dropped["drop_no_queue"])
    rounds = move_while(bench, lambda: carry_over(vm))
    print(f"{rounds} rounds while {2 * BYTES} bytes were carried over")
    bench.switch.command("offload vm0")
    bench.switch.wait_owners("vm0", "hardware")
    packets = sum(queue["packets"] for queue in softaccel.queues(0))
    exercise(vm)
    assert sum(queue["packets"] for queue in softaccel.queues(0)) > packets + 2 * PINGS
    vm.stop()
    bench.end_accelerator()
    bench.finish([bench.wire])
