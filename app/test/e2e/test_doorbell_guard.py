# SPDX-License-Identifier: BSD-3-Clause
"""A guest that keeps restarting its driver.

QEMU aborts when a notify area is removed twice within its deferred unmap: a guest must not be able to bring that
about. The guard is the distance that an offer keeps from every start and every removal.
"""

import resource
import signal
import time

import pytest

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm import Vm, qemu
from ringpass_testvm.errors import TestvmError

CYCLES = 200
MAPPED_CYCLES = 100
BATCH = 20
BATCHES_MAX = 50
REBIND_SECONDS = 300
# The doorbells are offered 250 ms after the start; a guest that keeps them as long is not put off.
KEEP_SECONDS = 0.55
# One that has kept them for ten seconds starts afresh.
FORGET_SECONDS = 10.5
# The quickest to restart: without the guard, QEMU 7.2 is gone after a few rounds; with two of each it takes hundreds.
QUEUE_PAIRS, CPUS = 1, 1
REBIND = """
driver=/sys/bus/virtio/drivers/virtio_net
device=$(basename $(ls -d $driver/virtio*))
for i in $(seq {count}); do
    echo $device >$driver/unbind
    echo $device >$driver/bind
    sleep {pause}
done
"""


@pytest.fixture
def no_core_files():
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, limits)


def test_qemu_aborts_without_it(make_stack, no_core_files):
    if qemu.major_version() != 7:
        pytest.skip(f"{qemu.version()}: measured with 7.2 only")
    stack = make_stack(uplink=True, queue_pairs=QUEUE_PAIRS, machine_options={"cpus": CPUS},
                       port_options={"doorbell_delay_ms": 1, "doorbell_delay_max_ms": 1})
    stack.start()
    vm = stack.guests[0].vm
    with pytest.raises(TestvmError, match=f"ended with status {-signal.SIGABRT}"):
        for _ in range(BATCHES_MAX):
            vm.run(REBIND.format(count=CYCLES, pause=0), REBIND_SECONDS)
    with open(stack.supervisor.path(f"{vm.name}.log"), encoding="utf-8", errors="replace") as log:
        assert "unmap_addr" in log.read()


def maps(guest):
    """How often each of its queues was mapped: at most once for each time that the driver was bound."""
    return [queue["doorbell_maps"] for queue in guest.show()["queues"]]


def fewest_maps(guests, before):
    return min(now - then for guest, old in zip(guests, before) for now, then in zip(maps(guest), old))


def rebind_mapped(guests):
    """Batches, until every queue was mapped often enough. @return cycles, maps."""
    vms = [guest.vm for guest in guests]
    before = [maps(guest) for guest in guests]
    keep, cycles, mapped = KEEP_SECONDS, 0, 0
    for _ in range(BATCHES_MAX):
        for guest in guests:
            guest.wait_modes()
        time.sleep(keep)
        had = fewest_maps(guests, before)
        Vm.run_together(vms, REBIND.format(count=BATCH, pause=f"{keep:.2f}"), REBIND_SECONDS)
        cycles += BATCH
        mapped = fewest_maps(guests, before)
        if mapped >= MAPPED_CYCLES:
            break
        if mapped - had < BATCH / 2:  # a busy machine: the guest was not bound long enough
            keep *= 1.5
            time.sleep(FORGET_SECONDS)
    return cycles, mapped


def test_driver_is_rebound(make_stack, qemu_programs):
    """The distribution's QEMU and the current one, side by side because they mostly wait."""
    stack = make_stack(guests=len(qemu_programs), uplink=True, queue_pairs=QUEUE_PAIRS,
                       machine_options=[{"program": program, "cpus": CPUS} for program in qemu_programs])
    stack.start()
    guests = stack.guests
    at_once = REBIND.format(count=CYCLES - MAPPED_CYCLES, pause=0)
    Vm.run_together([guest.vm for guest in guests], at_once, REBIND_SECONDS)
    stack.require_alive()
    cycles, mapped = rebind_mapped(guests)
    print(f"{len(guests)} QEMUs: {CYCLES - MAPPED_CYCLES} cycles at once, {cycles} bound for longer; "
          f"each queue mapped {mapped} times or more")
    assert mapped >= MAPPED_CYCLES
    for guest in guests:
        guest.set_address()
        guest.wait_modes()
        require_all(ping(guest.vm, UPLINK_ADDRESS, 10), "pings")
        assert guest.vm.boot_count == 1
    stack.require_alive()
