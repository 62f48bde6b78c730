# SPDX-License-Identifier: BSD-3-Clause
"""Functions of softaccel passed through whole: QEMU's vfio-user-pci on their sockets, the guest's own driver on their
rings. One VM for each kind of memory, with a card for each way to be used."""

import leaks
import pytest

from ringpass_stack import transfer
from ringpass_stack.passthrough import Passthrough
from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm.supervise import wait_until

SPLIT, PACKED, BY_MESSAGE, QUEUED = range(4)
FUNCTIONS = [{"packed": False}, {"packed": True}, {"packed": False, "doorbell": "none"},
             {"packed": True, "doorbell": "none"}]
RING_PACKED_BIT = 34
PINGS = 5
TRANSFER_BYTES = 4 << 20
RELOADS = 5
WAIT_SECONDS = 60
LOAD = "insmod /modules/*-virtio_net.ko"


@pytest.fixture
def make_rig(supervisor, build, store, current_qemu):
    def make(memory):
        rig = Passthrough(supervisor, build, store, FUNCTIONS, memory=memory, program=current_qemu)
        rig.start_softaccel()
        return rig
    return make


def require_traffic(rig, card):
    before = card.queues()
    card.use()
    require_all(ping(rig.vm, UPLINK_ADDRESS, PINGS), "pings")
    rig.require_alive()
    after = card.queues()
    assert all(after[queue]["packets"] >= before[queue]["packets"] + PINGS for queue in (0, 1))
    assert [queue["errors"] for queue in after] == [0] * len(after)


def transfers(rig, card):
    """Both ways, with checksums."""
    card.use()
    sent = transfer.to_guest(rig.vm, UPLINK_ADDRESS, TRANSFER_BYTES)
    transfer.from_guest(rig.vm, UPLINK_ADDRESS, sent)


def is_interrupted(card):
    """By MSI-X: each queue by a vector of its own, and no more often than the device has sent."""
    counts = card.interrupts()
    assert set(counts) == {"config", "input.0", "output.0"}
    sent = [queue["interrupts"] for queue in card.queues()]
    assert 0 < counts["input.0"] <= sent[0]
    assert 0 < counts["output.0"] <= sent[1]


def require_kicks(card):
    """The guest rings by storing to the device's own page, or QEMU by message where there is none to be mapped."""
    rung, other = "direct_kicks", "eventfd_kicks"
    if card.function.doorbell == "none":
        rung, other = other, rung
    for queue in card.queues()[:2]:
        assert queue[rung] > 0
        assert queue[other] == 0


def reloads_the_driver(rig):
    rig.vm.run(f"for i in $(seq {RELOADS}); do rmmod virtio_net; {LOAD}; done", timeout=120)


def reboots(rig):
    boots = rig.vm.boot_count
    rig.vm.reboot()
    assert rig.vm.boot_count == boots + 1


def require_released(rig, idle):
    """softaccel holds nothing of a VM."""
    wait_until(lambda: leaks.held(rig.softaccel.process.pid) == idle, WAIT_SECONDS,
               f"softaccel lets go of the VM: {idle}")


@pytest.mark.parametrize("memory", ["shared"])
def test_life(make_rig, memory):
    rig = make_rig(memory)
    split, packed, by_message, queued = rig.cards
    rig.vm.start()
    require_traffic(rig, split)
    assert not split.has_feature(RING_PACKED_BIT)
    is_interrupted(split)
    with rig.vm.qmp() as monitor:
        packed.plug(monitor)
        by_message.plug(monitor, **{"x-no-posted-writes": True})
        queued.plug(monitor, **{"x-send-queued": True})
    require_traffic(rig, packed)
    assert packed.has_feature(RING_PACKED_BIT)
    is_interrupted(packed)
    for card in rig.cards:
        transfers(rig, card)
        require_kicks(card)
    reloads_the_driver(rig)
    for card in rig.cards:
        require_traffic(rig, card)
    reboots(rig)
    for card in rig.cards:
        require_traffic(rig, card)
