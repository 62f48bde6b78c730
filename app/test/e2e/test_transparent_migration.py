# SPDX-License-Identifier: BSD-3-Clause
"""A guest that a software backend serves migrates between two QEMUs, directly and with ringpassd in between; nothing is
accelerated. The backend logs what it writes; that the log reaches QEMU is seen by comparing both memories."""

import contextlib

import pytest
import transparent
from test_live_migration import monitor_of
from test_transparent_net import ADDRESS, GUEST_ADDRESS, MAC, PREFIX_LENGTH
from transparent import Line, wait_answer

from ringpass_stack import backend_ovs
from ringpass_stack.backend_ovs import OvsBackend
from ringpass_stack.migration import Backlog, Migration, different_pages
from ringpass_stack.ping import ping
from ringpass_stack.scenario import require_all
from ringpass_testvm import Nic, prepare

PAIRS = 1
MEMORY_MIB = 256
MIB = 1 << 20
QUICK = (("distribution", "through"),)


def arrangements():
    for qemu in ("distribution", "current"):
        for way in transparent.WAYS:
            if transparent.wants_all() or (qemu, way) in QUICK:
                yield pytest.param(qemu, way == "through", id=f"{qemu}-{way}")


@pytest.mark.parametrize("qemu, through", arrangements())
def test_no_write_is_missed(supervisor, build, store, qemu_programs, qemu, through):
    if not backend_ovs.is_installed():
        pytest.skip("Open vSwitch with DPDK is not installed")
    if qemu == "current" and len(qemu_programs) == 1:
        pytest.skip("no current QEMU here: devtools/install-current-qemu could not install it")
    line = Line(supervisor, build, OvsBackend(supervisor, 2, PAIRS), through, PAIRS)

    def guest(name, index, *extra):
        machine = prepare.machine([Nic(line.end(index), MAC, PAIRS)], store, memory_mib=MEMORY_MIB, extra=extra,
                                  program=qemu_programs[0 if qemu == "distribution" else 1])
        return line.guest(name, machine)
    source, destination = guest("source", 0), guest("destination", 1, "-incoming", "defer", "-S")
    line.start([f"{ADDRESS}/{PREFIX_LENGTH}"])
    source.start()
    source.set_address(0, f"{GUEST_ADDRESS}/{PREFIX_LENGTH}")
    wait_answer(source, ADDRESS)
    uri = f"unix:{supervisor.path('migration.sock')}"
    with contextlib.closing(Backlog(source, ADDRESS)) as backlog:
        backlog.send(MIB)
        destination.launch()
        with monitor_of(source) as monitor, monitor_of(destination) as incoming:
            incoming.execute("migrate-incoming", uri=uri)
            migration = Migration(source, monitor, uri)
            migration.hold()
            require_all(ping(source, ADDRESS, 10, 0.05), "pings while the guest migrates")
            backlog.send(4 * MIB)
            migration.finish()
            assert different_pages(source.pid, destination.pid) == []
            destination.take_over(source.identity)
            incoming.execute("cont")
        source.kill()
        wait_answer(destination, ADDRESS)
        backlog.read(destination)
    require_all(ping(destination, ADDRESS, 10, 0.05), "pings at the destination")
    line.require_alive()
