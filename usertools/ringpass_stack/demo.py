# SPDX-License-Identifier: BSD-3-Clause
"""What `make demo` shows: a guest's packets go through an accelerator, and the control plane does nothing.

Every figure is counted where it happens: pings by the guest's ping, bytes by checksums at both ends, kicks
and interrupts by the device and by ringpassd, toggles and reboots by what ringpass-ctl and the guest's
kernel report.
"""

import os
import sys
import time

from ringpass_testvm import TestvmError, netns
from ringpass_testvm.cache import Cache
from ringpass_testvm.supervise import tail

from . import demo_command, transfer
from .ping import PingStream, Window, clock, ping
from .programs import Build, describe_modes
from .scenario import UPLINK_ADDRESS, Stack
from .summary import Figures

PINGS = 50
TOGGLED_PAIRS = (1, 0, 1, 0)
HOLD_SECONDS = 0.3
MOVES = (("software", "software"), ("hardware", "direct")) * 3  # what is wished for, and the mode to wait for
PAUSE_SECONDS = 1.0
RING_PACKED_BIT = 34


class DemoFigures(Figures):
    def __init__(self):
        super().__init__()
        self.moves = 0
        self.pings_in_moves = 0
        self.pings_lost_in_moves = 0

    def add_moves(self, count, report):
        """The pings of a stream, and which of them fell into the time of a move."""
        self.moves += count
        self.pings_sent += report.sent
        self.pings_received += report.received
        self.pings_in_moves += report.sent_in_windows
        self.pings_lost_in_moves += report.lost_in_windows

    def problems(self):
        lost = self.pings_lost_in_moves
        return super().problems() + ([f"{lost} pings lost while queues moved"] if lost else [])

    def more(self):
        return {"moves": self.moves, "pings_in_moves": self.pings_in_moves,
                "pings_lost_in_moves": self.pings_lost_in_moves}


class Demo:
    def __init__(self, supervisor, options):
        self.figures = DemoFigures()
        self._supervisor = supervisor
        self._options = options
        self._start = time.monotonic()
        self._stack = None
        self._guest = None

    def say(self, text):
        print(f"[{time.monotonic() - self._start:6.1f} s] {text}", flush=True)

    def run(self):
        self._supervisor.open()
        try:
            self._show()
        except TestvmError:
            for program in ("softaccel", "sw00", "ringpassd"):
                print(f"end of the log of {program}:{tail(self._supervisor.path(program + '.log'))}", file=sys.stderr)
            raise

    def _show(self):
        self._boot()
        self._ping("pings from the guest to the uplink")
        self._transfer()
        self._toggle()
        self._move()
        self._reboot()
        self._ping("pings after the reboot")
        self.figures.queues = self._guest.show()["queues"]

    def _boot(self):
        build = Build(self._options.build_dir)
        store = Cache(self._options.cache_dir or os.path.join(build.directory, "testvm-cache"))
        self.say("preparing the guest: kernel, initramfs, KVM probe")
        netns.enter_private()
        self._stack = Stack(self._supervisor, build, store, software=True, packed=self._options.packed)
        self._guest = self._stack.guests[0]
        self.say("starting softaccel and testpmd (the software backend), each with a TAP in a bridge "
                 f"({UPLINK_ADDRESS}), and ringpassd")
        self._stack.start_host()
        self.say(f"booting a guest under {self._guest.vm.machine.accel.upper()}")
        self._stack.start_guests()
        self.say(f"guest is up: Linux {self._guest.vm.release}, address {self._guest.address}")
        self._require_format()
        self._wait_direct()

    def _require_format(self):
        if self._guest.has_feature(RING_PACKED_BIT) != self._options.packed:
            raise TestvmError(f"the guest's rings are {'split' if self._options.packed else 'packed'}")
        self.say(f"the guest's rings are {'packed' if self._options.packed else 'split'}")

    def _wait_direct(self):
        shown = self._guest.wait_modes()
        self.figures.queues = shown["queues"]
        self.say(f"queues: {describe_modes(shown)}")

    def _ping(self, what):
        report = ping(self._guest.vm, UPLINK_ADDRESS, PINGS)
        self.figures.add_pings(report)
        self.say(f"{what}: {report.received} of {report.sent} answered")

    def _transfer(self):
        vm, mib = self._guest.vm, self._options.transfer_mib
        sent = transfer.to_guest(vm, UPLINK_ADDRESS, mib << 20)
        self.figures.bytes_checked += sent[1]
        self.say(f"{mib} MiB of random data to the guest: the checksums agree")
        transfer.from_guest(vm, UPLINK_ADDRESS, sent)
        self.figures.bytes_checked += sent[1]
        self.say(f"{mib} MiB back to the uplink: the checksums agree")

    def _toggle(self):
        self.say("pings go on while queue pairs are disabled and enabled again")
        stream = PingStream(self._guest.vm, UPLINK_ADDRESS)
        windows = []
        for pair in TOGGLED_PAIRS:
            time.sleep(PAUSE_SECONDS)
            windows.append(self._guest.toggle(pair, HOLD_SECONDS))
            self.figures.queue_toggles += 1
            self.say(f"queue pair {pair}: disabled, enabled, direct again "
                     f"within {windows[-1].end - windows[-1].start:.1f} s")
        time.sleep(PAUSE_SECONDS)
        report = stream.finish(windows)
        self.figures.add_pings(report)
        self.say(f"pings outside of the toggles: {report.received} of {report.sent} answered; "
                 f"inside: {report.lost_in_windows} of {report.sent_in_windows} lost")

    def _move(self):
        self.say("pings go on while the queues move: hardware, software, hardware")
        stream = PingStream(self._guest.vm, UPLINK_ADDRESS)
        windows = []
        for wish, mode in MOVES:
            time.sleep(PAUSE_SECONDS)
            start = clock(self._guest.vm)
            self._guest.move(wish)
            self._guest.wait_modes(mode)
            windows.append(Window(start, clock(self._guest.vm)))
        queues = self._guest.show()["queues"]
        self.say(f"{len(MOVES)} moves; nobody had a queue for {min(queue['blackout_min_us'] for queue in queues)} to "
                 f"{max(queue['blackout_max_us'] for queue in queues)} us")
        time.sleep(PAUSE_SECONDS)
        report = stream.finish(windows)
        self.figures.add_moves(len(MOVES), report)
        self.say(f"pings between moves: {report.received} of {report.sent} answered; "
                 f"during moves: {report.lost_in_windows} of {report.sent_in_windows} lost")

    def _reboot(self):
        vm = self._guest.vm
        boots = vm.boot_count
        self.say("rebooting the guest")
        vm.reboot()
        self.figures.guest_reboots += vm.boot_count - boots
        self._guest.set_address()
        self.say(f"guest is up again: boot {vm.boot_id}")
        self._require_format()
        self._wait_direct()


def main(arguments=None):
    return demo_command.run("ringpass-demo", "Show Ringpass at work with a real guest.", 64, Demo, arguments)
