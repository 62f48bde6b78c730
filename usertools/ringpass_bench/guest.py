# SPDX-License-Identifier: BSD-3-Clause
"""testpmd in a virtual machine, through direct queues of an accelerator against testpmd (librte_vhost) on the host.

One guest has four cards: two are ports of ringpassd with softaccel behind them, two are those of the host's testpmd.
Packets go round: out by one card, through the host, in by the other card, and out again. In turns the one pair of
cards works and the other rests; what is compared is two turns one after the other. What the guest received counts.
"""

import contextlib
import os
import statistics
import sys
import time

from ringpass_stack.guest_testpmd import GuestTestpmd, machine_options, parse_stats
from ringpass_stack.programs import Build, Control, Function, Port, Ringpassd, Softaccel
from ringpass_stack.testpmd import Testpmd
from ringpass_stack.backend_testpmd import NetVhost
from ringpass_testvm import Nic, Supervisor, TestvmError, VhostUser, Vm, prepare
from ringpass_testvm.cache import Cache

from .errors import BenchError

PEER = "testpmd on the host, librte_vhost"
FORMATS = (("split", False), ("packed", True))
TURN_SECONDS = 2.0
SETTLE_SECONDS = 0.5
PAIRS_WANTED = 8
BURSTS = 4  # of 32 packets, that go round
MODES_SECONDS = 120
OURS, THEIRS = (0, 1), (2, 3)  # ports of the guest's testpmd
MACS = [f"52:54:00:00:07:{port:02x}" for port in range(4)]
PEERS = [MACS[1], MACS[0], MACS[3], MACS[2]]


class Bench:
    def __init__(self, supervisor, build, packed):
        sockets = [supervisor.path(f"card{port}.sock") for port in range(4)]
        # A pair rests while the other works: its doorbells are not to be taken back for that.
        functions = [Function(supervisor.path(f"f{port}.sock"), MACS[port], 1, idle_ms=0)
                     for port in OURS]
        self.softaccel = Softaccel(supervisor, build, functions)
        self.ringpassd = Ringpassd(supervisor, build, [
            Port(f"vm{port}", sockets[port], [f"vfio-user,socket={function.socket}"], queue_pairs=1)
            for port, function in zip(OURS, functions)])
        self.control = Control(build, self.ringpassd.rpc)
        self.peer = Testpmd(supervisor, [NetVhost(sockets[port]) for port in THEIRS], "peer")
        nics = [Nic(VhostUser(socket), mac, packed=packed) for socket, mac in zip(sockets, MACS)]
        store = Cache(os.path.join(build.directory, "testvm-cache"))
        self.vm = Vm(supervisor, "guest", prepare.machine(nics, store, **machine_options()))
        self.guest = GuestTestpmd(self.vm, PEERS)

    def start(self):
        self.softaccel.start()
        self.ringpassd.start()
        self.peer.start()
        self.peer.command("set fwd io")
        self.vm.start()
        self.guest.start()
        self.guest.command("set fwd io")
        for port in OURS:
            self.control.wait_modes(f"vm{port}", "direct", MODES_SECONDS, self.vm.require_alive)
        self._pin()

    def _pin(self):
        """The guest on one processor, whoever serves it on the other; only one of these works at a time."""
        cpus = sorted(os.sched_getaffinity(0))
        for pid, cpu in ((self.vm.pid, cpus[0]), (self.softaccel.process.pid, cpus[-1]),
                         (self.peer.process.pid, cpus[-1])):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError):  # a thread that has ended meanwhile
                    os.sched_setaffinity(int(task), {cpu})

    def turn(self, ports, seconds):
        """@return packets per second that the guest received by these ports."""
        theirs = ports == THEIRS
        if theirs:
            self.peer.command("start")
        # A start throws away what a former turn has left in the rings.
        start, show = f"start tx_first {BURSTS}", "show port stats all"
        counters = parse_stats(self.guest.command(f"set portlist {','.join(map(str, ports))}", start, SETTLE_SECONDS,
                                                  show, seconds, show, "stop"))
        if theirs:
            self.peer.command("stop")
        return sum(counters[port]["Rx-pps"] for port in ports)

    def kicks(self, kind):
        """kind: as ringpass-ctl names it."""
        return sum(queue[kind] for port in OURS for queue in self.control.show(f"vm{port}")["queues"])

    def pairs(self, deadline, once):
        """@return [(ours, peer's)]."""
        found = []
        seconds = 0.5 if once else TURN_SECONDS
        for ports in (OURS, THEIRS):
            self.turn(ports, SETTLE_SECONDS)
        while not found or (not once and len(found) < PAIRS_WANTED and time.monotonic() < deadline):
            found.append((self.turn(OURS, seconds), self.turn(THEIRS, seconds)))
        return found


def row_of(context, name, pairs):
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    middle = statistics.median(ratios)
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [middle] * 3
    row = context.row(f"guest_pps_{name}_64", statistics.median(ours for ours, _ in pairs), "packets/s", PEER,
                      statistics.median(theirs for _, theirs in pairs), runs=len(pairs),
                      spread=round((quartiles[2] - quartiles[0]) / middle, 3) if middle else 0.0)
    return {**row, "ratio": round(middle, 4)}


def comparable(name, pairs):
    """Without the pairs in which the peer was not let run or lost what went round: there is nothing to compare with.
    Where only ours carried nothing, that is what was measured."""
    kept = [(ours, theirs) for ours, theirs in pairs if theirs]
    if len(kept) < len(pairs):
        print(f"ringpass-bench: guest, {name}: {len(pairs) - len(kept)} pairs discarded, no packets of the peer's",
              file=sys.stderr)
    nothing = sum(not ours for ours, _theirs in kept)
    if nothing == len(kept):
        raise BenchError(f"guest, {name}: no packets: {pairs}")
    if nothing:
        print(f"ringpass-bench: guest, {name}: {nothing} pairs in which ours carried nothing, counted as 0",
              file=sys.stderr)
    return kept


def measure(context, name, packed, deadline):
    with Supervisor("bench") as supervisor:
        bench = Bench(supervisor, Build(context.build_dir), packed)
        bench.start()
        pairs = bench.pairs(deadline, context.once)
    return row_of(context, name, comparable(name, pairs))


def run(context):
    """Rows. Under emulation a packet costs the guest many times what it costs the host: ratios are indicative."""
    started = time.monotonic()
    try:
        for place, (name, packed) in enumerate(FORMATS, 1):
            yield measure(context, name, packed, started + context.seconds * place / len(FORMATS))
    except TestvmError as error:
        raise BenchError(str(error)) from error
