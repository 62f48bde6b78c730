# SPDX-License-Identifier: BSD-3-Clause
"""A guest with an IOMMU in strict mode in front of a network card that ringpassd serves: each buffer is mapped for one
packet, so each is asked for and taken back, over QEMU's IOTLB messages."""

import os

import pytest

from ringpass_stack import transfer
from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm import qemu

# 256 shows more, and takes some minutes. One CPU: two spin while the other waits for the IOMMU.
BULK_MIB = int(os.environ.get("RINGPASS_VIOMMU_MIB", "2"))
STRICT = "intel_iommu=on iommu.strict=1 iommu.passthrough=0"
IOMMU = "intel-iommu,device-iotlb=on"
PINGS = 10
RELOADS = int(os.environ.get("RINGPASS_VIOMMU_RELOADS", "2"))
ACCESS_PLATFORM_BIT = 33
RING_PACKED_BIT = 34


@pytest.fixture
def start_stack(make_stack):
    def make(program, kernel_arguments, packed=False, asks=False):
        stack = make_stack(uplink=True, queue_pairs=1, packed=packed, behind_iommu=True, asks=asks,
                           port_options={"access_platform": '"on"'},
                           machine_options={"program": program, "iommu": IOMMU, "kernel_arguments": kernel_arguments,
                                            "memory_mib": 512 + 2 * BULK_MIB, "cpus": 1})
        stack.start("direct" if asks else "shadow")
        return stack
    return make


def features(guest):
    return int(guest.show()["features_acked"], 16)


def require_nothing_refused(guest, mode="shadow"):
    """@return what was asked of the IOMMU."""
    shown = guest.show()
    print(shown["iommu"], [(queue["mode"], queue["packets"]) for queue in shown["queues"]])
    assert shown["iommu"]["negotiated"]
    assert shown["iommu"]["misses_refused"] == 0
    for queue in shown["queues"]:
        assert queue["mode"] == mode and ("IOMMU" in queue["reason"]) == (mode == "shadow")
        assert queue["accesses_refused"] == queue["lost"] == queue["errors"] == 0
    return shown["iommu"]


def reload_driver(guest, mode="shadow"):
    guest.vm.run("cd /sys/bus/virtio/drivers/virtio_net && device=$(ls -d virtio*) && echo $device >unbind && "
                 "[ ! -e /sys/class/net/eth0 ] && echo $device >bind && [ -e /sys/class/net/eth0 ]")
    guest.set_address()
    guest.wait_modes(mode)


def test_strict_split(start_stack):
    run_strict(start_stack(qemu.PROGRAM, STRICT), False)


def test_strict_packed(start_stack, current_qemu):
    run_strict(start_stack(current_qemu, STRICT, packed=True), True)


def test_strict_split_with_the_current_qemu(start_stack, current_qemu):
    run_strict(start_stack(current_qemu, STRICT), False)


def run_strict(stack, packed):
    guest = stack.guests[0]
    assert features(guest) >> ACCESS_PLATFORM_BIT & 1
    assert features(guest) >> RING_PACKED_BIT & 1 == packed
    assert "DMA" in guest.vm.run("cat /sys/class/net/eth0/device/../iommu_group/type").output
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings")
    before = require_nothing_refused(guest)
    sent = transfer.to_guest(guest.vm, UPLINK_ADDRESS, BULK_MIB << 20)
    transfer.from_guest(guest.vm, UPLINK_ADDRESS, sent)
    after = require_nothing_refused(guest)
    # A packet, a buffer, a mapping: some thousand of them.
    assert after["misses"] - before["misses"] > 1000
    assert after["invalidations"] - before["invalidations"] > 1000
    for _ in range(RELOADS):
        reload_driver(guest)
        require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings after the driver was loaded anew")
    require_nothing_refused(guest)
    assert "DMAR: [" not in guest.vm.run("dmesg").output
    # softaccel checks each access against what is mapped for it.
    assert stack.softaccel.dma(0)["refused"] == 0


def test_strict_direct(start_stack):
    run_strict_direct(start_stack(qemu.PROGRAM, STRICT, asks=True), False)


def test_strict_direct_packed(start_stack, current_qemu):
    run_strict_direct(start_stack(current_qemu, STRICT, packed=True, asks=True), True)


def run_strict_direct(stack, packed):
    """The whole chain: the guest's IOMMU, QEMU's IOTLB messages, ringpassd, and a softaccel that asks and faults."""
    guest = stack.guests[0]
    assert features(guest) >> ACCESS_PLATFORM_BIT & 1
    assert features(guest) >> RING_PACKED_BIT & 1 == packed
    assert "DMA" in guest.vm.run("cat /sys/class/net/eth0/device/../iommu_group/type").output
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings")
    before = require_nothing_refused(guest, "direct")
    sent = transfer.to_guest(guest.vm, UPLINK_ADDRESS, BULK_MIB << 20)
    transfer.from_guest(guest.vm, UPLINK_ADDRESS, sent)
    after = require_nothing_refused(guest, "direct")
    assert after["device_translations"] - before["device_translations"] > 1000
    assert after["device_invalidations"] - before["device_invalidations"] > 1000
    require_faults(stack, after)
    for _ in range(RELOADS):
        reload_driver(guest, "direct")
        require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings after the driver was loaded anew")
    require_faults(stack, require_nothing_refused(guest, "direct"))
    assert "DMAR: [" not in guest.vm.run("dmesg").output


def require_faults(stack, asked):
    """softaccel has what it has requested, page by page, and nothing beside it."""
    dma = stack.softaccel.dma(0)
    print(dma)
    assert asked["rings_stopped"] == 0
    assert 0 < dma["iommu_page_requests"] == asked["device_page_requests"]
    assert dma["mappings_added"] == asked["device_pages"] <= dma["iommu_page_requests"]
    assert dma["iommu_translations"] > 1000 and dma["iommu_invalidations_in_use"] > 0
    assert dma["refused"] == 0


def test_pass_through(start_stack, current_qemu):
    """Nothing is translated, which QEMU says page by page: each page is asked for once, and never taken back."""
    guest = start_stack(current_qemu, "intel_iommu=on iommu=pt").guests[0]
    assert "identity" in guest.vm.run("cat /sys/class/net/eth0/device/../iommu_group/type").output
    sent = transfer.to_guest(guest.vm, UPLINK_ADDRESS, BULK_MIB << 20)
    before = require_nothing_refused(guest)
    transfer.from_guest(guest.vm, UPLINK_ADDRESS, sent)
    after = require_nothing_refused(guest)
    assert after["invalidations"] == before["invalidations"]
