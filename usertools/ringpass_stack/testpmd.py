# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd, driven by its commands; its virtio-user ports are vhost-user frontends without a guest. Its other
ports, of which it can be a backend, are in backend_testpmd.py."""

import contextlib
import dataclasses
import os
import re
import shutil
import time

from ringpass_testvm import supervise
from ringpass_testvm.errors import TestvmError

PROGRAM = "dpdk-testpmd"
# A command that changes nothing, after each command: its line says that the answer before it is complete. Prompt and
# echo do not: they are written letter by letter, and events of other threads fall in between.
MARK_COMMAND, MARK = "set verbose 0", "Change verbose level from 0 to 0\n"
START_SECONDS = 60
COMMAND_SECONDS = 30
STOP_SECONDS = 30
LOOK_SECONDS = 0.1  # between looks at counters, which are a long text
EAL_ARGUMENTS = ("--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "128")
MBUFS = 4096

XSTAT_PORT = re.compile(r"statistics for port (\d+)")
XSTAT = re.compile(r"^(\w+): (\d+)\s*$")
QUEUE_PACKETS = re.compile(r"^(rx|tx)_q(\d+)_good_packets$")
# What must be 0 when no packet is lost; counters that a driver does not have are not shown.
ERRORS = ("rx_missed_errors", "rx_errors", "tx_errors", "rx_mbuf_allocation_errors")


@dataclasses.dataclass
class VirtioUser:
    """One port of testpmd."""

    socket: str
    mac: str
    peer_mac: str  # where to its packets go
    queues: int = 1
    queue_size: int = 256
    packed: bool = False
    listens: bool = False  # virtio-user's server mode
    more: str = ""  # further arguments of the device

    def device(self, index):
        """As --vdev and "port attach" want it."""
        text = (f"net_virtio_user{index},path={self.socket},queues={self.queues},queue_size={self.queue_size},"
                f"packed_vq={int(self.packed)},server={int(self.listens)},mac={self.mac}")
        return f"{text},{self.more}" if self.more else text


@dataclasses.dataclass
class PortCounters:
    """Of one port, since testpmd's start or "clear": packets by queue, and what went wrong."""

    rx: dict
    tx: dict
    errors: dict

    @property
    def received(self):
        return sum(self.rx.values())

    @property
    def sent(self):
        return sum(self.tx.values())


def is_installed():
    return shutil.which(PROGRAM) is not None


def parse_counters(text):
    """What "show port xstats all" has printed. @return {port: PortCounters}."""
    ports = {}
    counters = None
    for line in text.splitlines():
        if title := XSTAT_PORT.search(line):
            counters = ports[int(title[1])] = PortCounters({}, {}, {})
        elif counters and (stat := XSTAT.match(line)):
            name, value = stat[1], int(stat[2])
            if queue := QUEUE_PACKETS.match(name):
                (counters.rx if queue[1] == "rx" else counters.tx)[int(queue[2])] = value
            elif name in ERRORS and value:
                counters.errors[name] = value
    return ports


class Testpmd:
    """Two processor threads: one for commands, one that forwards."""

    __test__ = False  # the name looks like a test class to pytest

    def __init__(self, supervisor, ports, name="testpmd", environment=None):
        """ports: each a VirtioUser, or whatever has a device() and queues; all with the same number of queues.
        environment: variables to add."""
        self._supervisor = supervisor
        self._ports = ports
        self._name = name
        self._environment = dict(environment or {})
        self._commands = None
        self.process = None

    def command_line(self):
        cpus = sorted(os.sched_getaffinity(0))
        # stdbuf: or the answers arrive in blocks of 4096 bytes, long after the prompt
        line = ["stdbuf", "-oL", PROGRAM, *EAL_ARGUMENTS, f"--lcores=0@{cpus[0]},1@{cpus[-1]}",
                f"--file-prefix=rp{os.getpid()}{self._name}"]
        line += [f"--vdev={port.device(index)}" for index, port in enumerate(self._ports)]
        queues = self._ports[0].queues
        line += ["--", "-i", f"--total-num-mbufs={MBUFS}", f"--rxq={queues}", f"--txq={queues}", "--nb-cores=1",
                 "--txonly-multi-flow"]
        return line + [f"--eth-peer={index},{port.peer_mac}" for index, port in enumerate(self._ports)
                       if getattr(port, "peer_mac", None)]

    def begin(self):
        """Start it, and do not wait: a listening port holds it up until its backend has come."""
        reader, writer = os.pipe()
        self._commands = open(writer, "w", encoding="utf-8")
        try:
            # SIGPIPE stays ignored: virtio-user writes to its backend's socket also when nobody is there any more
            environment = {"RUNTIME_DIRECTORY": self._supervisor.directory, **self._environment}
            self.process = self._supervisor.start(self._name, self.command_line(), environment, stdin=reader,
                                                  restore_signals=False)
        finally:
            os.close(reader)

    def wait_ready(self):
        self._send(MARK_COMMAND)
        self._wait(lambda: MARK in self.process.log(), START_SECONDS, "prompt")

    def start(self):
        self.begin()
        self.wait_ready()

    def command(self, text):
        """@return what it has answered."""
        before = len(self.process.log())
        answer = ""

        def answered():
            nonlocal answer
            answer, mark, _ = self.process.log()[before:].partition(MARK)
            return mark
        self._send(text)
        self._send(MARK_COMMAND)
        self._wait(answered, COMMAND_SECONDS, f"answer to {text!r}")
        return answer

    def _wait(self, condition, timeout, what):
        supervise.wait_until(condition, timeout, f"{self._name}: {what}", self.process.require_alive)

    def _send(self, text):
        try:
            self._commands.write(f"{text}\n")
            self._commands.flush()
        except OSError as error:
            self.process.require_alive()
            raise TestvmError(f"{self._name}: {text!r}: {error.strerror}") from error

    def counters(self):
        """@return PortCounters, in the order of ports."""
        text = self.command("show port xstats all")
        ports = parse_counters(text)
        if sorted(ports) != list(range(len(self._ports))):
            raise TestvmError(f"{self._name}: unexpected counters: {text.strip()[:500]}")
        return [ports[index] for index in sorted(ports)]

    def links_up(self):
        """How many of the ports have a link."""
        return len(re.findall(r"^\d+ .* up +\S+\s*$", self.command("show port summary all"), re.MULTILINE))

    def wait_links(self, expected, timeout):
        self._wait(lambda: self.links_up() == expected, timeout, f"{expected} ports with a link")

    def circulate(self, packets_per_queue, timeout, lost_max=0):
        """One burst leaves each queue of the two ports and goes round, in by one port and out by the other, until each
        queue has carried so many packets more; then nothing is sent any more and what is under way is taken in.
        The burst is all that is ever under way, so that none can be dropped for want of a buffer.
        lost_max: see drain(). @return PortCounters, of all time."""
        self.command("set fwd io")
        self.command("start tx_first 1")
        self.wait_carried(packets_per_queue, timeout)
        self.command("stop")
        return self.drain(timeout, lost_max)

    def wait_carried(self, packets_per_queue, timeout):
        """Until each queue has carried so many packets more."""
        first = self.counters()

        def carried():
            time.sleep(LOOK_SECONDS)
            now = self.counters()
            return all(count - before[queue] >= packets_per_queue for port, first_port in zip(now, first)
                       for counts, before in ((port.rx, first_port.rx), (port.tx, first_port.tx))
                       for queue, count in counts.items())
        self._wait(carried, timeout, f"{packets_per_queue} packets on each queue")

    def drain(self, timeout, lost_max=0):
        """Take in what is under way, until each port has received what the other one has sent, but for lost_max.
        @return PortCounters."""
        last = []

        def complete():
            nonlocal last
            last = self.counters()
            a, b = last
            return 0 <= a.sent - b.received <= lost_max and 0 <= b.sent - a.received <= lost_max
        self.command("set fwd rxonly")
        self.command("start")
        try:
            self._wait(complete, timeout, "all that was sent is received")
        except TestvmError as error:
            raise TestvmError(f"{error}; last seen: {last}") from error
        self.command("stop")
        return last

    def replace_ports(self):
        """What a user does whose virtio-user, as client, has lost its backend: it does not connect again by itself."""
        for index in range(len(self._ports)):
            self.command(f"port stop {index}")
            self.command(f"port detach {index}")
        for index, port in enumerate(self._ports):
            self.command(f"port attach {port.device(index)}")
        self.command("port start all")

    def _take(self):
        process, self.process = self.process, None
        with contextlib.suppress(OSError):
            self._commands.close()
        return process

    def quit(self):
        """@return exit status."""
        self._send("quit")
        return self._take().wait(STOP_SECONDS)

    def stop(self):
        """However it is. Its own way first: what a signal finds in the wrong moment it may take long to notice."""
        process = self.process
        with contextlib.suppress(TestvmError):
            self.quit()
        process.stop()

    def kill(self):
        """As a crash would."""
        return self._take().kill()
