# SPDX-License-Identifier: BSD-3-Clause
"""A stream of pings from a guest, of which the fate of each is known.

The guest's ping prints a line for each reply; the guest's clock is put before each line. A reply's time of
sending is that clock less the printed round trip; that of a lost ping lies between its neighbours', by the
fixed interval. Windows of time in which losses are expected are in the same clock, so nothing depends on
how quickly the host gets to read.
"""

import bisect
import dataclasses
import re
import time

from ringpass_testvm.errors import TestvmError

LINGER_SECONDS = 20
STEP_SECONDS = 0.1
REPLY = re.compile(r"^([\d.]+) \d+ bytes from .* seq=(\d+) ttl=\d+ time=([\d.]+) ms( \(DUP!\))?$")

SCRIPT = """
ping {count} -i {interval} -W {linger} {address} & echo $! >{pidfile}; wait $!
"""
STAMP = "while read -r line; do read -r now idle </proc/uptime; echo \"$now $line\"; done"


@dataclasses.dataclass
class Window:
    """A span of the guest's clock, in seconds."""

    start: float
    end: float

    def contains(self, moment, margin):
        return self.start - margin <= moment <= self.end + margin


@dataclasses.dataclass
class Report:
    sent: int = 0
    received: int = 0
    sent_in_windows: int = 0
    lost_in_windows: int = 0
    lost: list = dataclasses.field(default_factory=list)  # sequence numbers, outside the windows


def clock(vm):
    """The guest's clock, as the pings are stamped with."""
    return float(vm.run("cat /proc/uptime").output.split()[0])


def parse(text, repeats_max=0):
    """{sequence number: time of sending} of the replies. @raises TestvmError when more than repeats_max came again, with
    what came.

    A reply that comes again takes longer, and ping marks it. The same line once more, to the microsecond and without
    a mark, is the guest's shell that wrote it twice: one reply."""
    sent_at, took, repeats = {}, {}, []
    for line in text.splitlines():
        match = REPLY.match(line)
        if not match:
            continue
        stamp, sequence, milliseconds, duplicate = match.groups()
        if duplicate or took.setdefault(sequence, milliseconds) != milliseconds:
            repeats.append(sequence)
        sent_at.setdefault(int(sequence), float(stamp) - float(milliseconds) / 1000)
    if len(repeats) > repeats_max:
        lines = "\n".join(line for line in text.splitlines() if any(f"seq={number} " in line for number in repeats))
        raise TestvmError(f"{len(repeats)} pings were answered twice, expected {repeats_max} at most:\n{lines}")
    return sent_at


def time_of_sending(sequence, sent_at, known, interval):
    """Of any ping: what its reply says, or what its neighbours in known (sorted, not empty) say."""
    if sequence in sent_at:
        return sent_at[sequence]
    index = bisect.bisect(known, sequence)
    if index == 0:
        return sent_at[known[0]] - (known[0] - sequence) * interval
    before = known[index - 1]
    if index == len(known):
        return sent_at[before] + (sequence - before) * interval
    after = known[index]
    return sent_at[before] + (sequence - before) / (after - before) * (sent_at[after] - sent_at[before])


def judge(sent_at, count, interval, windows):
    """@return Report on the pings 0 to count - 1."""
    report = Report()
    known = sorted(sent_at)
    for sequence in range(count):
        received = sequence in sent_at
        inside = False
        if known:
            moment = time_of_sending(sequence, sent_at, known, interval)
            # one interval on each side: as exact as the time of a lost ping is known
            inside = any(window.contains(moment, interval) for window in windows)
        if inside:
            report.sent_in_windows += 1
            report.lost_in_windows += not received
        else:
            report.sent += 1
            report.received += received
            if not received:
                report.lost.append(sequence)
    return report


class PingStream:
    """Pings in the background, until finish()."""

    def __init__(self, vm, address, interval=0.1, count=None):
        self._vm = vm
        self._interval = interval
        self._count = count
        self._pidfile = f"/run/ping-{address}.pid"
        script = SCRIPT.format(count=f"-c {count}" if count else "", interval=interval, linger=LINGER_SECONDS,
                               address=address, pidfile=self._pidfile)
        self._job = vm.spawn(f"({script}) 2>&1 | {STAMP}")
        self._repeats_max = 0

    def allow_repeats(self, count):
        """So many may be answered twice: of requests that were sent again, because nobody knew that they had been."""
        self._repeats_max += count

    def _sent_at(self):
        return parse(self._job.output(), self._repeats_max)

    def answered(self):
        """@return how many were, up to now."""
        return len(self._sent_at())

    def finish(self, windows=()):
        """End the stream, when every ping up to now has had its time for a reply. @return Report."""
        if self._count:
            seconds = self._count * self._interval
            self._job.wait(5 * seconds + 3 * LINGER_SECONDS)
            return judge(self._sent_at(), self._count, self._interval, windows)
        count = self._settle(windows)
        self._vm.run(f"kill -INT $(cat {self._pidfile})", check=False)
        self._job.wait(LINGER_SECONDS)
        return judge(self._sent_at(), count, self._interval, windows)

    def _settle(self, windows):
        """Wait for the reply to a ping sent after this call, and for what is still due. @return number of pings."""
        now = clock(self._vm)
        end = time.monotonic() + LINGER_SECONDS
        count = None
        while time.monotonic() < end:
            sent_at = self._sent_at()
            later = [sequence for sequence, moment in sent_at.items() if moment > now]
            if later:
                count = count or min(later) + 1
                if not judge(sent_at, count, self._interval, windows).lost:
                    break
            time.sleep(STEP_SECONDS)
        if count is None:
            raise TestvmError(f"{self._vm.name}: pings are not answered any more: {self._job.output()[-500:]}")
        return count


def ping(vm, address, count, interval=0.1):
    """Send so many pings and wait for them. @return Report."""
    return PingStream(vm, address, interval, count).finish()
