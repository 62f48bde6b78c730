# SPDX-License-Identifier: BSD-3-Clause
"""Guests with an IOMMU of their own in strict mode, and a function of softaccel passed through: each buffer is mapped
for its one use and unmapped after it, and softaccel looks each access up among the mappings of its moment."""

import os
import socket

import pytest

from ringpass_stack import transfer
from ringpass_stack.passthrough import Passthrough
from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm.supervise import wait_until

# A vfio-user device is told of what is mapped, not only of what no longer is: hence the caching mode.
# Without IPv6 the guest sends nothing by itself, so that it is known when no packet is under way.
STRICT = "iommu.strict=1 iommu.passthrough=0 ipv6.disable=1"
INTEL = {"iommu": "intel-iommu,caching-mode=on", "kernel_arguments": f"intel_iommu=on {STRICT}"}
VIRTIO = {"iommu": "virtio-iommu-pci", "kernel_arguments": STRICT,
          "modules": ("virtio_pci", "virtio_iommu", "virtio_net")}
FUNCTIONS = [{"packed": False}, {"packed": True}]
PINGS = 5
# An emulated guest behind an emulated IOMMU takes a second for 1 to 3 MiB. RINGPASS_BULK_MIB=256 takes minutes.
BULK_BYTES = int(os.environ.get("RINGPASS_BULK_MIB", "16")) << 20
BACK_BYTES = 4 << 20
# virtio-iommu is asked by a request of the guest's for each of them.
VIRTIO_BULK_BYTES = int(os.environ.get("RINGPASS_BULK_MIB", "4")) << 20
RELOADS = 2
LOAD = "insmod /modules/*-virtio_net.ko"
DISCARD_PORT = 9
WAIT_SECONDS = 60
MEMORY_MIB = 1024  # half of it can be files


@pytest.fixture
def make_rig(supervisor, build, store, current_qemu):
    def make(options, functions, program=None):
        # One CPU: two would wait for each other at the IOMMU's queue, each in a loop that takes a real one's time.
        rig = Passthrough(supervisor, build, store, functions, program=current_qemu, cpus=1, memory_mib=MEMORY_MIB,
                          **options)
        if program:
            rig.softaccel.program = program
        rig.start_softaccel()
        rig.vm.start()
        return rig
    return make


def require_strict(rig):
    """The device is in a domain of translated addresses, and an unmap is finished when it returns."""
    assert "strict mode" in rig.vm.run("dmesg | grep 'TLB invalidation policy'").output
    device = rig.vm.run(f"readlink -f /sys/class/net/{rig.cards[0].name}/device/../iommu_group").output.strip()
    assert rig.vm.run(f"cat {device}/type").output.strip() == "DMA"


def require_inside(rig, card):
    """Whatever softaccel has touched was mapped at that moment."""
    counted = rig.softaccel.dma(card.number)
    print(f"{card.name}: {counted}")
    assert counted["refused"] == 0
    assert counted["translations"] > 0
    assert {queue["dma"] for queue in card.queues()[:2]} == {"direct"}
    assert {queue["errors"] for queue in card.queues()} == {0}
    return counted


def require_mapped_for_its_use(card, before, after, used):
    """At least one mapping for each packet that the guest has sent, and nearly all are gone again."""
    sent = card.queues()[1]["packets"] - used
    assert after["mappings_added"] - before["mappings_added"] >= sent > 0
    assert after["mappings_removed"] - before["mappings_removed"] >= sent // 2


def look_between_packets(rig, card):
    """@return what is counted of DMA, and the packets that were sent. One that is mapped and not served yet would be
    in one of them only."""
    require_all(ping(rig.vm, UPLINK_ADDRESS, 1), "a ping before")

    def look():
        sent, counted = card.queues()[1]["packets"], rig.softaccel.dma(card.number)
        return (counted, sent) if card.queues()[1]["packets"] == sent else None
    return wait_until(look, WAIT_SECONDS, f"{card.name}: no packet between two looks")


def require_traffic(rig, card):
    card.use()
    before, used = look_between_packets(rig, card)
    require_all(ping(rig.vm, UPLINK_ADDRESS, PINGS), "pings")
    rig.require_alive()
    require_mapped_for_its_use(card, before, require_inside(rig, card), used)


def carries_bulk(rig, card, size):
    """To the guest, and part of it back, with checksums."""
    before, used = look_between_packets(rig, card)
    transfer.to_guest(rig.vm, UPLINK_ADDRESS, size)
    sent = transfer.to_guest(rig.vm, UPLINK_ADDRESS, BACK_BYTES)
    transfer.from_guest(rig.vm, UPLINK_ADDRESS, sent)
    require_mapped_for_its_use(card, before, require_inside(rig, card), used)


def reloads_the_driver(rig):
    rig.vm.run(f"for i in $(seq {RELOADS}); do rmmod virtio_net; {LOAD}; done", timeout=120)


def lives(rig, bulk_bytes):
    split, packed = rig.cards
    require_strict(rig)
    with rig.vm.qmp() as monitor:
        packed.plug(monitor)
    require_traffic(rig, split)
    carries_bulk(rig, split, bulk_bytes)
    require_traffic(rig, packed)
    reloads_the_driver(rig)
    for card in rig.cards:
        require_traffic(rig, card)
        assert rig.softaccel.dma(card.number)["mappings"] > 0


def test_intel_iommu(make_rig):
    lives(make_rig(INTEL, FUNCTIONS), BULK_BYTES)


def test_virtio_iommu(make_rig, current_kernel):
    lives(make_rig({**VIRTIO, "kernel_root": current_kernel}, FUNCTIONS), VIRTIO_BULK_BYTES)


def test_a_late_access_is_found(make_rig, build):
    """A device that goes on looking at a buffer when the driver has it back. What the tests above ask for fails."""
    rig = make_rig(INTEL, FUNCTIONS[:1], program=build.test_program("app/softaccel/softaccel-late-access"))
    card = rig.cards[0]
    card.use()
    require_all(ping(rig.vm, UPLINK_ADDRESS, PINGS), "pings")

    def refused():
        # Wakes the device, which then looks, and makes the guest send little.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.sendto(b"wake", (f"10.77.0.{card.number + 2}", DISCARD_PORT))
        return rig.softaccel.dma(card.number)["refused"] > 0
    wait_until(refused, WAIT_SECONDS, "an access that was refused")
    with pytest.raises(AssertionError):
        require_inside(rig, card)
