# SPDX-License-Identifier: BSD-3-Clause
"""Queues that move while numbered frames flow: ringpass-storm between a softaccel and a switch, and the books of all.

No network card and no hugepages. The guest and its peer are in ringpass-storm (app/test/storm); the peer has a leg in
each plane:

    guest ---- port ---- softaccel (a function for each pair) ---- port ---- peer
                 |                                                            |
                 +------ switch: two vhost-user ports, one joined to the other +

Each queue pair has a softaccel function of its own at either end, so that what is sent to it waits for no other pair.
What the switch ports had to drop, because no receive ring was theirs, must be what the books miss, to the frame.

By hand: app/test/e2e/run_storm.py --moves 10000 --pairs 2 [--packed] [--shadow] ...
"""

import dataclasses
import json
import os
import random
import re

from ringpass_stack.backend_ovs import OvsBackend
from ringpass_stack.backend_testpmd import NetVhost
from ringpass_stack.programs import Function, Softaccel
from ringpass_stack.testpmd import Testpmd
from ringpass_testvm import supervise

RUN_SECONDS = 3600
COMMAND_SECONDS = 30
STOP_SECONDS = 60
OFCTL_PACKETS = re.compile(r"port\s+(\w+): rx pkts=(\d+), [^\n]*\n\s+tx pkts=(\d+), ")
TX_DROPPED = re.compile(r"Forward statistics for port (\d+) .*?RX-packets: (\d+).*?TX-packets: (\d+)\s+TX-dropped: (\d+)",
                        re.DOTALL)
# Why softaccel may drop a frame at a guest's function: a receive ring that nobody there has.
EXPECTED_DROP = "rx_no_queue"
DROPS = ("rx_no_queue", "rx_no_buffer", "rx_bad_chain", "tx_length", "tx_bad_header", "same_port")


class OvsPatch(OvsBackend):
    """Two vhost-user ports of an Open vSwitch, of which each gets what the other takes in. It connects to us."""

    def __init__(self, supervisor, pairs):
        # Its thread sends all through one queue of a port, so a second pair would receive nothing.
        assert pairs == 1, "Open vSwitch: one pair"
        super().__init__(supervisor, ports=2, queue_pairs=pairs)

    def start(self, addresses=()):
        super().start(addresses)
        for one, other in ((0, 1), (1, 0)):
            self._ofctl("add-flow", f"in_port={self._ports[one]},actions=output:{self._ports[other]}")

    def _ofctl(self, command, *arguments):
        return supervise.run(["ovs-ofctl", command, f"unix:{self._path(self.uplink)}.mgmt", *arguments], COMMAND_SECONDS)

    def drops(self):
        """@return what was to go out of each port, and could not."""
        text = self._ofctl("dump-ports")
        found = {port: (int(taken), int(given)) for port, taken, given in OFCTL_PACKETS.findall(text)}
        # Not its "drop": what is for a port whose link is down it drops earlier, and counts nowhere.
        return [found[other][0] - found[one][1] for one, other in (("1", "2"), ("2", "1"))]


class TestpmdPatch:
    """Two vhost-user ports of a testpmd, of which each gets what the other takes in."""

    __test__ = False  # the name looks like a test class to pytest

    def __init__(self, supervisor, pairs, name="patch"):
        self.sockets = [supervisor.path(f"{name}{index}.sock") for index in range(2)]
        self._testpmd = Testpmd(supervisor, [NetVhost(socket, pairs) for socket in self.sockets], name)

    def start(self):
        self._testpmd.start()
        self._testpmd.command("set fwd io")
        self._testpmd.command("start")

    @property
    def process(self):
        return self._testpmd.process

    def drops(self):
        """@return what was to go out of each port, and could not."""
        text = self._testpmd.command("show fwd stats all")
        found = {int(port): int(dropped) for port, _, _, dropped in TX_DROPPED.findall(text)}
        assert sorted(found) == [0, 1], text
        return [found[0], found[1]]

    def stop(self):
        self._testpmd.stop()


@dataclasses.dataclass
class Options:
    """What ringpass-storm is to do; see its main.c."""

    moves: int = 200
    pairs: int = 1
    seed: int = 0
    packed: bool = False
    shadow: bool = False
    class_b: bool = False
    pairs_only: bool = False
    calm: bool = False
    policies: bool = False  # doorbell and ring policies change, queues are disabled and enabled, too
    verbose: bool = False
    drain_ms: int = 2
    progress: int = 8
    hardware: bool = True
    software: bool = True
    ovs: bool = False  # Open vSwitch is the switch, else testpmd
    direct: bool = False  # the guest is the switch's own frontend: without Ringpass
    program: str = "ringpass-storm"
    more: tuple = ()

    def arguments(self):
        line = []
        for name in ("packed", "shadow", "class_b", "pairs_only", "calm", "policies", "verbose"):
            line += [f"--{name.replace('_', '-')}"] if getattr(self, name) else []
        for name in ("moves", "pairs", "seed", "drain_ms", "progress"):
            line += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        return [*line, *self.more]


class Rig:
    """All processes of one run."""

    def __init__(self, supervisor, build, options):
        options.seed = options.seed or random.randrange(1, 1 << 31)
        self._supervisor = supervisor
        self._build = build
        self._options = options
        self._functions = [[Function(supervisor.path(f"{who}{pair}.sock"), f"52:54:00:00:{number:02x}:{pair:02x}", 1)
                            for pair in range(options.pairs)] for number, who in ((1, "g"), (2, "p"))]
        self.softaccel = Softaccel(supervisor, build, self._functions[0] + self._functions[1]) \
            if options.hardware else None
        patch = OvsPatch if options.ovs else TestpmdPatch
        self.patch = patch(supervisor, options.pairs) if options.software else None

    def _command(self):
        options = self._options
        driver = "vfio-user-b" if options.class_b else "vfio-user"
        program = os.path.join(self._build.directory, "app", "test", "storm", options.program)
        line = [program, "--guest", self.patch.sockets[0] if options.direct else self._supervisor.path("guest.sock")]
        if options.hardware:
            line += ["--peer", self._supervisor.path("peer.sock")]
            for own, other in zip(*self._functions):
                line += ["--accelerator", f"{driver},socket={own.socket}",
                         "--peer-accelerator", f"vfio-user,socket={other.socket}"]
        if options.software:
            line += ["--software-peer", self.patch.sockets[1]]
            line += [] if options.direct else ["--software", self.patch.sockets[0]]
            line += ["--software-listens"] if options.ovs else []
        # What reconnects is a port: the switch itself forgets its counters with its frontend.
        line += ["--stay"] if options.ovs or options.direct else []
        return line + options.arguments()

    def start(self):
        for one in (self.softaccel, self.patch):
            if one:
                one.start()

    def stop(self):
        for one in (self.patch, self.softaccel):
            if one and one.process:
                one.stop()

    def run(self, timeout=RUN_SECONDS):
        """@return Books of a run that came to its end."""
        reader, writer = os.pipe()
        try:
            storm = self._supervisor.start("storm", self._command(), stdin=reader)
            line = storm.wait_for_line('"flows"', timeout)
            books = Books(json.loads(line), self._accelerator_drops(), self.patch.drops() if self.patch else [0, 0])
        finally:
            os.close(reader)
            os.close(writer)  # it waits for that
        assert storm.wait(STOP_SECONDS) == 0
        for one in (self.softaccel, self.patch):
            if one:
                one.process.require_alive()
        return books

    def _accelerator_drops(self):
        """@return [{reason: frames}] of the guest's functions, then the peer's."""
        if not self.softaccel:
            return []
        return [{drop: function[f"drop_{drop}"] for drop in DROPS} for function in self.softaccel.functions()]


class Books:
    """What ringpass-storm wrote down, beside what the switches counted."""

    def __init__(self, storm, accelerator, switch):
        self.storm = storm
        self.accelerator = accelerator
        self.switch = switch

    def total(self, what, flows=("ask", "answer", "news")):
        return sum(flow[what] for flow in self.storm["flows"] if flow["flow"] in flows)

    @property
    def apart(self):
        """Frames that reached a switch port while no receive ring was its own."""
        return self.total("missing_hardware") + self.total("missing_software")

    def faults(self):
        """@return what is wrong, in words; empty: the books balance."""
        found = []

        def expect(what, got, wanted):
            if got != wanted:
                found.append(f"{what}: {got}, expected {wanted}")
        for name in ("duplicated", "reordered"):
            expect(name, self.total(name), 0)
        for name in ("corrupted", "strayed", "positions_wrong", "log_missing"):
            expect(name, self.storm[name], 0)
        expect("asks that were lost", self.total("sent", ["ask"]) - self.total("received", ["ask"]), 0)
        pairs = len(self.accelerator) // 2
        for number, drops in enumerate(self.accelerator):
            missing = sum(flow["missing_hardware"] for flow in self.storm["flows"]
                          if flow["pair"] == number and flow["flow"] != "ask") if number < pairs else 0
            # A ring that was started, and whose buffers no kick has announced yet, has an owner that has none.
            unkicked = drops["rx_no_buffer"] if number < pairs else 0
            expect(f"function {number}: dropped", drops, dict.fromkeys(DROPS, 0) |
                   {EXPECTED_DROP: missing - unkicked, "rx_no_buffer": unkicked})
        expect("dropped toward the guest by the switch", self.switch[0],
               self.total("missing_software", ["answer", "news"]))
        expect("dropped toward the peer by the switch", self.switch[1], 0)
        return found

    def line(self):
        """One line for a reader."""
        storm = self.storm
        blackouts = [queue["blackout_median_us"] for queue in storm["queues"]]
        return (f"seed {storm['seed']} (features {storm['features']}, replies {storm['replies']}, small buffers "
                f"{storm['small_buffers']}): {storm['moves_done']} moves ({storm['moves_refused']} refused), "
                f"{sum(queue['to_hardware'] + queue['to_software'] for queue in storm['queues'])} rings moved, "
                f"{storm['stops']} stops, {storm['disables']} disables, {storm['reboots']} reboots, "
                f"{storm['reconnects']} reconnects, {storm['swaps']} swaps, "
                f"{storm['hotplugs']} hotplugs, {storm['logs']} logs ({storm['log_pages']} pages looked at), "
                f"{self.total('sent')} frames in {storm['took_ms'] / 1000:.1f} s: "
                f"duplicated {self.total('duplicated')}, reordered {self.total('reordered')}, "
                f"overtaken {self.total('overtaken')}, counted apart {self.apart} "
                f"(answers, in {self.total('gaps', ['answer'])} places: {self.total('missing_hardware', ['answer']) + self.total('missing_software', ['answer'])}), "
                f"redone {sum(queue['redone'] for queue in storm['queues'])}, "
                f"unkicked {sum(drops['rx_no_buffer'] for drops in self.accelerator)}, blackout medians {blackouts} us")
