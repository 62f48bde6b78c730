# SPDX-License-Identifier: BSD-3-Clause
"""A guest that a software backend serves migrates between two QEMUs, directly and with ringpassd in between; nothing is
accelerated. The backend logs what it writes; that the log reaches QEMU is seen by comparing both memories."""

import contextlib

import pytest
import transparent
from test_live_migration import log_off, monitor_of
from test_transparent_net import ADDRESS, GUEST_ADDRESS, MAC, PREFIX_LENGTH
from transparent import Line, wait_answer

from ringpass_stack import backend_ovs
from ringpass_stack.backend_ovs import OvsBackend
from ringpass_stack.migration import Backlog, Migration, describe_pages, different_pages
from ringpass_stack.ping import ping
from ringpass_stack.scenario import require_all
from ringpass_testvm import Nic, prepare

PAIRS = 1
MEMORY_MIB = 256
MIB = 1 << 20
QUICK = (("distribution", "through"), ("current", "through"))


def arrangements():
    for qemu in ("distribution", "current"):
        for way in transparent.WAYS:
            if transparent.wants_all() or (qemu, way) in QUICK:
                yield pytest.param(qemu, way == "through", True, id=f"{qemu}-{way}")
    if transparent.wants_all():
        yield pytest.param("distribution", True, False, id="distribution-through-not-logged")


class Journey:
    """A guest on one port of an Open vSwitch, and a QEMU on another one that waits for it."""

    def __init__(self, supervisor, build, store, program, through, environment=None):
        """environment: of Open vSwitch."""
        self.supervisor = supervisor
        self.line = Line(supervisor, build, OvsBackend(supervisor, 2, PAIRS, environment=environment), through, PAIRS)

        def guest(name, index, *extra):
            machine = prepare.machine([Nic(self.line.end(index), MAC, PAIRS)], store, memory_mib=MEMORY_MIB,
                                      extra=extra, program=program)
            return self.line.guest(name, machine)
        self.source, self.destination = guest("source", 0), guest("destination", 1, "-incoming", "defer", "-S")

    def start(self):
        self.line.start([f"{ADDRESS}/{PREFIX_LENGTH}"])
        self.source.start()
        self.source.set_address(0, f"{GUEST_ADDRESS}/{PREFIX_LENGTH}")
        wait_answer(self.source, ADDRESS)

    def go(self, backlog):
        """@return pages that differ."""
        uri = f"unix:{self.supervisor.path('migration.sock')}"
        self.destination.launch()
        with monitor_of(self.source) as monitor, monitor_of(self.destination) as incoming:
            migration = Migration(monitor, incoming, uri)
            migration.hold()
            require_all(ping(self.source, ADDRESS, 10, 0.05), "pings while the guest migrates")
            backlog.send(4 * MIB)
            migration.finish()
            pages = different_pages(self.source.pid, self.destination.pid)
            print(f"{len(pages)} pages differ\n{describe_pages(self.source.pid, self.destination.pid, pages)}")
            self.destination.take_over(self.source.identity)
            incoming.execute("cont")
        self.source.kill()
        return pages


@pytest.fixture
def make_journey(supervisor, build, store, qemu_programs):
    """A function of qemu, through and environment; started."""
    def make(qemu, through, environment=None):
        if not backend_ovs.is_installed():
            pytest.skip("Open vSwitch with DPDK is not installed")
        if qemu == "current" and len(qemu_programs) == 1:
            pytest.skip("no current QEMU here: devtools/install-current-qemu could not install it")
        journey = Journey(supervisor, build, store, qemu_programs[0 if qemu == "distribution" else 1], through,
                          environment)
        journey.start()
        return journey
    return make


@pytest.mark.parametrize("qemu, through, logged", arrangements())
def test_no_write_is_missed(make_journey, build, qemu, through, logged):
    """Not logged: all goes to a log that nobody sees, and the comparison must find what is missing."""
    journey = make_journey(qemu, through, None if logged else log_off(build))
    with contextlib.closing(Backlog(journey.source, ADDRESS)) as backlog:
        backlog.send(MIB)
        assert (journey.go(backlog) == []) == logged
        if not logged:
            return
        wait_answer(journey.destination, ADDRESS)
        backlog.read(journey.destination)
    require_all(ping(journey.destination, ADDRESS, 10, 0.05), "pings at the destination")
    journey.line.require_alive()
