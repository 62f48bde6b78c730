# SPDX-License-Identifier: BSD-3-Clause
"""Real kernel VFIO under a guest's rings, in the hardware VM: virtio-net functions behind an IOMMU, each of another
shape, a port of one ringpassd over each, and one nested guest with a card on every port.

The tests share this machine: it takes longer to make than any of them. Each begins with fresh rings, and after a test
that has lost the machine, with another one.
"""

import contextlib
import glob
import os
import time

import leaks
import pytest
from conftest import LOG_LINES
from hardware import FEW_VECTORS, LEGACY, RELAYED, SHAPES, WINDOW_IOVA, WINDOWS, Rig, Shared

from ringpass_hwvm import wire
from ringpass_hwvm.guest import NESTED_BOOT_SECONDS
from ringpass_stack import ping, transfer
from ringpass_testvm import Supervisor, TestvmError, hotplug, netns
from ringpass_testvm.supervise import tail, wait_until

BULK_BYTES = 2 << 20
EVENT_SECONDS = 120
PAUSE_SECONDS = 1
RING_PACKED_BIT = 34
SPLIT = [name for name, shape in SHAPES.items() if not shape.packed]
LOST = "where the packed ring stopped is not known"
# Rings that were used. Those of a second pair may be as fresh as before.
MID_LIFE = {0: "shadow", 1: "shadow"}
PAGE_REASON = "doorbell page is shared by"
NUMBER_REASON = "knows this queue by another number"

# Takes ringpassd's first container, as whoever may do anything can, and empties the IOMMU's table under the device.
UNMAP = """
import ctypes, fcntl, os, struct
UNMAP_DMA, FLAG_ALL, PIDFD_GETFD = 0x3b72, 2, 438
pid = {pid}
place = f"/proc/{{pid}}/fd"
fds = sorted(int(fd) for fd in os.listdir(place) if os.readlink(f"{{place}}/{{fd}}") == "/dev/vfio/vfio")
libc = ctypes.CDLL(None)
container = libc.syscall(PIDFD_GETFD, os.pidfd_open(pid), fds[0], 0)
answer = bytearray(struct.pack("=IIQQ", 24, FLAG_ALL, 0, 0))
fcntl.ioctl(container, UNMAP_DMA, answer)
print(struct.unpack("=IIQQ", answer)[3])
"""


@pytest.fixture(scope="module")
def shared_rig(request, build, store):
    @contextlib.contextmanager
    def make():
        before, failed = netns.interfaces(), request.session.testsfailed
        with Supervisor("hardware") as supervisor:
            directory = supervisor.directory
            rig = Rig(supervisor, build, store)
            try:
                rig.start()
                yield rig
            finally:
                if request.session.testsfailed > failed or not rig.guest:
                    for log in sorted(glob.glob(supervisor.path("*.log"))):
                        print(f"--- {os.path.basename(log)}{tail(log, LOG_LINES)}")
        assert leaks.remains(supervisor.mark, directory) == []
        assert netns.interfaces() == before
    shared = Shared(make)
    yield shared
    shared.close()


@pytest.fixture
def rig(request, shared_rig):
    one = shared_rig.get()
    mark = one.log_size()
    yield one
    try:
        print(f"ringpassd said:\n{one.log_since(mark)}")
    except TestvmError as error:
        # The test that lost the machine has failed already, and says more.
        if not getattr(request.node, "has_failed", False):
            raise
        print(f"ringpassd's log is lost: {error}")


def _kicks(rig, name):
    """{(function, queue): how often the hardware was kicked}."""
    return {(index, queue): count for index in SHAPES[name].functions
            for queue, count in rig.host.kicks(index).items()}


def _shown_and_kicks(rig, name):
    """Of the same moment: a guest says something of its own now and then."""
    def still():
        before, shown, after = _kicks(rig, name), rig.show(name), _kicks(rig, name)
        return (shown, after) if before == after else None
    return wait_until(still, EVENT_SECONDS, f"{name}: nobody kicks", rig.host.require_alive)


def _relayed(shown, key="relayed_kicks"):
    return {queue["queue"]: queue[key] for queue in shown["queues"]}


@pytest.mark.parametrize("name", SHAPES)
def test_traffic_and_who_kicks(rig, name):
    """The hardware is kicked for every ping. On a direct queue ringpassd has no part in it, and in no interrupt."""
    before, kicks = _shown_and_kicks(rig, name)
    rig.require_traffic(name)
    after, more = _shown_and_kicks(rig, name)
    transmit = SHAPES[name].functions[0], 1
    hardware = more[transmit] - kicks[transmit]
    relayed = _relayed(after)[1] - _relayed(before)[1]
    assert hardware > 0
    assert relayed == (0 if SHAPES[name].fresh != RELAYED else hardware)
    assert _relayed(after, "relayed_interrupts") == _relayed(before, "relayed_interrupts")
    if SHAPES[name].fresh != RELAYED:
        assert _relayed(after, "relayed_kicks_after_map")[1] == 0


def test_reasons_of_relayed_queues(rig):
    """Doorbells of several queues in one page, and a device's queue that has another number in the guest."""
    assert all(PAGE_REASON in queue["reason"] for queue in rig.show("page")["queues"])
    second = [queue["reason"] for queue in rig.show("two")["queues"] if queue["queue"] >= 2]
    assert len(second) == 2 and all(NUMBER_REASON in reason for reason in second)


def test_a_bar_of_another_function(rig):
    """A real BAR, mapped for the neighbour; what of others does not fit is said once each, and RAM works."""
    rows = rig.show("two")["windows"]
    assert [row["cause"] or row["state"] for row in rows] == list(WINDOWS)
    mapped = rows[0]
    assert int(mapped["iova"], 16) == WINDOW_IOVA and mapped["size"] >= 0x4000
    lines = [line for line in rig.log_since().splitlines() if "event=section-left-out" in line]
    assert len(lines) == len(WINDOWS) - 1
    second = rig.host.address(SHAPES["two"].functions[1])
    assert all(f"of {second} for {rig.host.address(SHAPES['two'].functions[0])} is left out: DMA 0x" in line
               for line in lines)
    assert sum("0x1800: expected multiples of the IOMMU's page, 0x1000" in line for line in lines) == 1
    assert sum("MSI-X table" in line and "x-msix-relocation" in line for line in lines) == 1
    assert sum("0xfee00000 + 0x1000: beyond what the IOMMU can address, or in a range that it reserves" in line
               for line in lines) == 1
    assert all(not row["windows"] for row in map(rig.show, SHAPES) if row["port"] != "two")
    rig.require_traffic("two")


def test_rings_are_what_the_guest_agreed_to(rig):
    for number, shape in enumerate(SHAPES.values()):
        bits = rig.guest.run(f"cat /sys/class/net/eth{number}/device/features").output.strip()
        assert (bits[RING_PACKED_BIT] == "1") == shape.packed


@pytest.mark.parametrize("name, transmit", [("pairs", [(2, 1), (2, 3)]), ("two", [(3, 1), (4, 1)])])
def test_both_pairs_reach_the_hardware(rig, name, transmit):
    """Each CPU of the guest sends by its own pair: another queue of the function, or another function of the port."""
    for cpu, own in enumerate(transmit):
        before = _kicks(rig, name)
        rig.require_traffic(name, cpu)
        after = _kicks(rig, name)
        assert after[own] > before[own]


@pytest.mark.parametrize("name", ["split", "packed", "pairs"])
def test_bulk(rig, name):
    peer = wire.peer(SHAPES[name].functions[0])
    sent = transfer.to_guest(rig.guest, peer, BULK_BYTES)
    transfer.from_guest(rig.guest, peer, sent)


@pytest.fixture
def shadow_packed(rig):
    """The hardware cannot say where it stands in a packed ring: one that is to be taken from it is in a shadow from its
    start."""
    rig.host.control.ring("packed", "shadow")
    rig.reload_driver()
    rig.wait("packed", "shadow")
    yield rig
    rig.host.control.ring("packed", "auto")
    rig.reload_driver()
    rig.wait_fresh()


def _redone_sending(rig, name):
    """What hardware of class B had taken and not used is done again, and counted (doc/prog_guide/port.md)."""
    return sum(queue["redone"] for queue in rig.show(name)["queues"] if queue["queue"] % 2)


def _toggle_under_traffic(rig, name):
    address = wire.peer(SHAPES[name].functions[0])
    stream = ping.PingStream(rig.guest, address)
    time.sleep(PAUSE_SECONDS)
    start, redone = ping.clock(rig.guest), _redone_sending(rig, name)
    rig.host.control.disable(name, 0)
    rig.wait(name, "stopped")
    rig.host.control.enable(name, 0)
    rig.wait(name, MID_LIFE)
    window = ping.Window(start, ping.clock(rig.guest))
    stream.allow_repeats(_redone_sending(rig, name) - redone)
    time.sleep(PAUSE_SECONDS)
    report = stream.finish([window])
    assert report.lost == []
    assert report.received > 0


def test_disabled_and_enabled_under_traffic(rig):
    """A ring in mid-life is not one that the hardware can take: it goes on in a shadow."""
    _toggle_under_traffic(rig, "split")


def test_packed_rings_in_a_shadow(shadow_packed):
    """Disabled and enabled under traffic, and stopped with the guest."""
    rig = shadow_packed
    _toggle_under_traffic(rig, "packed")
    with rig.guest.qmp() as qmp:
        qmp.execute("stop")
        rig.wait("packed", "stopped")
        qmp.execute("cont")
    rig.wait("packed", MID_LIFE)
    rig.require_traffic("packed")


def test_a_packed_ring_of_the_hardwares_own_goes_on(rig):
    """It is not taken away where nobody could say where it stopped."""
    with pytest.raises(TestvmError, match="ENOTSUP"):
        rig.host.control.disable("packed", 0)
    rig.host.control.enable("packed", 0)
    rig.wait("packed", "direct")
    rig.require_traffic("packed")


def test_stop_and_cont(rig):
    rig.require_all_traffic()
    with rig.guest.qmp() as qmp:
        qmp.execute("stop")
        for name in SHAPES:
            rig.wait(name, "stopped")
        qmp.execute("cont")
    for name in SPLIT:
        rig.wait(name, MID_LIFE)
        rig.require_traffic(name)
    assert all(LOST in queue["reason"] for queue in rig.show("packed")["queues"])


def test_driver_reload_makes_rings_direct_again(rig):
    rig.require_traffic("split")
    with rig.guest.qmp() as qmp:
        qmp.execute("stop")
        qmp.execute("cont")
    rig.wait("split", MID_LIFE)
    rig.reload_driver()
    rig.wait_fresh()
    rig.require_all_traffic()


def test_memory_plugged_does_not_stop_rings(rig):
    mark = rig.log_size()
    regions = rig.show("split")["regions"]
    with rig.guest.qmp() as qmp:
        hotplug.add_dimm(qmp, "dimm0", 128)
    wait_until(lambda: all(rig.show(name)["regions"] > regions for name in SHAPES), EVENT_SECONDS,
               "the new memory", rig.host.require_alive)
    rig.require_all_traffic()
    assert "event=queue-stopped" not in rig.log_since(mark)
    assert "event=accelerator-failed" not in rig.log_since(mark)


def test_guest_reboot(rig):
    boots = rig.guest.boot_count
    rig.guest.reboot(NESTED_BOOT_SECONDS)
    assert rig.guest.boot_count == boots + 1
    rig.set_addresses()
    rig.wait_fresh()
    rig.require_all_traffic()


def test_ringpassd_killed_and_restarted(rig):
    """The guest lives on; a split ring goes on by itself, in a shadow."""
    boots = rig.guest.boot_count
    rig.require_all_traffic()
    rig.ringpassd.kill()
    assert rig.guest.run("echo alive").output == "alive\n"
    rig.start_ringpassd()
    for name in SPLIT:
        rig.wait(name, MID_LIFE)
        rig.require_traffic(name)
    assert rig.guest.boot_count == boots


def _ringpassd_says(rig, accelerator, pairs=0):
    """Start one more, with a single port. @return the end of what it says."""
    config = (f'ports = ( {{ name = "bad"; socket = "/run/bad.sock"; queue_pairs = {pairs}; '
              f'accelerators = ( "vfio,device={accelerator}" ); }} );')
    rig.host.write("/run/bad.conf", config)
    program = rig.host.build.program("ringpassd")
    command = f"timeout 15 {program} --config /run/bad.conf --rpc /run/bad-rpc.sock"
    output = rig.host.run(command, 90, check=False).output
    print(output)
    [line] = [line for line in output.splitlines() if "ports[0]" in line or "port-waiting" in line]
    return line


def test_a_group_that_others_use_too(rig):
    """The neighbour in the group has the kernel's driver."""
    line = _ringpassd_says(rig, rig.host.address(FEW_VECTORS))
    assert rig.host.address(LEGACY) in line and "virtio-pci" in line


@pytest.fixture
def bound(rig):
    """The whole of the shared group is VFIO's."""
    rig.host.bind(LEGACY, "vfio-pci")
    yield rig
    rig.host.bind(LEGACY, "virtio-pci")


def test_too_few_interrupts(bound):
    assert "MSI-X" in _ringpassd_says(bound, bound.host.address(FEW_VECTORS))


def test_a_legacy_device(bound):
    assert "legacy" in _ringpassd_says(bound, bound.host.address(LEGACY))


def test_not_a_virtio_device(rig):
    """The SATA controller of the machine, which nobody needs. It lacks more than a virtio device's structures."""
    rig.host.vm.run("echo vfio-pci >/sys/bus/pci/devices/0000:00:1f.2/driver_override; "
                    "echo 0000:00:1f.2 >/sys/bus/pci/drivers_probe")
    line = _ringpassd_says(rig, "0000:00:1f.2")
    assert "0000:00:1f.2" in line and ("virtio" in line or "MSI-X" in line)


def test_unmapped_under_the_device(rig):
    """The IOMMU stops the device. That is an accelerator's failure, and nothing that the guest dies of."""
    mark = rig.log_size()
    unmapped = int(rig.host.run(f"python3 -c '{UNMAP.format(pid=rig.ringpassd.pid)}'", 120).output)
    assert unmapped > 0
    rig.guest.run(f"ping -c 3 -i 0.1 -W 1 {wire.peer(0)}", check=False)
    wait_until(lambda: "event=accelerator-failed" in rig.log_since(mark), EVENT_SECONDS, "the failure",
               rig.host.require_alive)
    failures = [line for line in rig.log_since(mark).splitlines() if "event=accelerator-failed" in line]
    assert all("port=split" in line for line in failures)
    assert rig.guest.run("echo alive").output == "alive\n"
    for name in ("packed", "pairs"):
        rig.require_traffic(name)
    wait_until(lambda: "event=accelerator-back" in rig.log_since(mark), EVENT_SECONDS, "its return",
               rig.host.require_alive)
    rig.reload_driver()
    rig.wait_fresh()
    rig.require_all_traffic()
