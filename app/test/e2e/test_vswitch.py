# SPDX-License-Identifier: BSD-3-Clause
"""examples/vswitch: guests on librte_vhost and on an accelerator, in one network, in turns."""

import os

import pytest

from ringpass_stack import transfer
from ringpass_stack.ping import ping
from ringpass_stack.programs import Control, Function, Port, Ringpassd
from ringpass_stack.scenario import PREFIX_LENGTH, UPLINK_ADDRESS, require_all
from ringpass_testvm import Nic, VhostUser, Vm, prepare
from vswitch import WIRE, Vswitch, WiredSoftaccel

PINGS = 30
BYTES = 4 << 20
MAC = "52:54:00:00:00:01"
ADDRESS = "10.77.0.2"
MODE_SECONDS = 60


class Bench:
    """A TAP interface, the switch, and guests by their sockets."""

    def __init__(self, supervisor, build, store):
        self.supervisor = supervisor
        self.build = build
        self._store = store
        self.tap = f"rp{os.getpid()}"
        self.wire = supervisor.path("wire.sock")
        self.switch = None

    def start_switch(self, *guests, **options):
        self.switch = Vswitch(self.supervisor, self.build, guests, self.tap, **options)
        self.switch.start(f"{UPLINK_ADDRESS}/{PREFIX_LENGTH}")

    def boot(self, number=0, queue_pairs=1):
        nic = Nic(VhostUser(self.supervisor.path(f"vm{number}.sock"), reconnect=1), f"{MAC[:-1]}{number + 1}", queue_pairs)
        vm = Vm(self.supervisor, f"guest{number}", prepare.machine([nic], self._store))
        vm.start()
        vm.set_address(0, f"10.77.0.{number + 2}/{PREFIX_LENGTH}")
        return vm

    def guest(self, number=0, more=""):
        """Argument of --guest."""
        return f"name=vm{number},socket={self.supervisor.path(f'vm{number}.sock')}{more}"

    def finish(self, sockets=()):
        assert self.switch.stop() == 0
        left = [path for path in (*sockets, self.supervisor.path("vm0.sock"), self.supervisor.path("control.sock"))
                if os.path.exists(path)]
        assert left == []


@pytest.fixture
def bench(supervisor, build, store):
    return Bench(supervisor, build, store)


def exercise(vm):
    require_all(ping(vm, UPLINK_ADDRESS, PINGS), "pings")
    sent = transfer.to_guest(vm, UPLINK_ADDRESS, BYTES)
    transfer.from_guest(vm, UPLINK_ADDRESS, sent)


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
    bench.start_switch(wire=bench.wire, ethdevs=[WIRE])
    function = Function(bench.supervisor.path("f0.sock"), MAC, 1)
    softaccel = WiredSoftaccel(bench.supervisor, bench.build, [function], bench.wire)
    softaccel.start()
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
