# SPDX-License-Identifier: BSD-3-Clause
"""Functions of softaccel passed through whole: QEMU's vfio-user-pci on their sockets, the guest's own driver on their
rings. One VM for each kind of memory, with a card for each way to be used."""

import signal

import leaks
import pytest

from ringpass_stack import transfer
from ringpass_stack.passthrough import Passthrough
from ringpass_stack.ping import PingStream, ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm import TestvmError, VfioUser, Vm, prepare
from ringpass_testvm.supervise import wait_until

# The last two interrupt by the pin: unplugged, stock QEMU survives these only.
FUNCTIONS = [{"packed": False}, {"packed": True}, {"packed": False, "doorbell": "none"},
             {"packed": True, "doorbell": "none"}, {"packed": False, "msix": False}, {"packed": True, "msix": False}]
RING_PACKED_BIT = 34
PINGS = 3
TRANSFER_BYTES = 1 << 20
RELOADS = 2
WAIT_SECONDS = 60
# What softaccel can map of the guest's memory, and how it then reaches the memory of queues.
MEMORIES = {"shared": "direct", "private": "messages", "half": "messages"}
# What QEMU 11.1.3 ends with when a vfio-user device that has MSI-X is unplugged.
UNPLUG_ABORT = "memory_region_del_subregion: Assertion `subregion->container == mr' failed"
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
    assert {queue["dma"] for queue in after[:2]} == {MEMORIES[rig.machine.memory]}


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


def reloads_the_driver(rig, cpu):
    """By that CPU: where memory comes in halves, the rings are in its own."""
    load = f"rmmod virtio_net; taskset {1 << cpu:x} {LOAD}"
    rig.vm.run(f"for i in $(seq {RELOADS}); do {load}; done", timeout=120)


def reboots(rig):
    boots = rig.vm.boot_count
    rig.vm.reboot()
    assert rig.vm.boot_count == boots + 1


def require_stopped(card):
    wait_until(lambda: {queue["state"] for queue in card.queues()} == {"stopped"}, WAIT_SECONDS, "stopped queues")


def is_plugged_again(rig, card, monitor):
    """Unplugged while its packets flow; in between the device keeps what it has counted."""
    card.use()
    before = card.queues()
    flood = rig.vm.spawn(f"ping -A {UPLINK_ADDRESS}")
    wait_until(lambda: card.queues()[0]["packets"] > before[0]["packets"] + PINGS, WAIT_SECONDS, "packets")
    card.unplug(monitor)
    require_stopped(card)
    flood.signal("KILL")
    kept = card.queues()
    assert all(kept[queue]["packets"] > before[queue]["packets"] for queue in (0, 1))
    card.plug(monitor)
    assert set(card.interrupts()) == set()
    require_traffic(rig, card)
    assert all(card.queues()[queue]["packets"] > kept[queue]["packets"] for queue in (0, 1))


def loses_its_device(rig, card):
    """The guest lives without it, and a new softaccel does not take its place."""
    with rig.vm.qmp() as monitor:
        # Of a message that the device has not read, QEMU 11.1.3 hears an error, and aborts: none is under way.
        monitor.execute("stop")
        card.queues()
        rig.softaccel.kill()
        monitor.execute("cont")
    rig.start_softaccel()
    assert rig.vm.run(f"ping -c 1 -W 1 {UPLINK_ADDRESS}", check=False).status == 1
    with rig.vm.qmp() as monitor:
        assert monitor.execute("query-status")["running"]
    assert "client connected" not in rig.softaccel.process.log()
    assert {queue["packets"] for queue in card.queues()} == {0}


def lives(rig, cards):
    """All that happens to a guest that keeps its cards."""
    for card in cards:
        require_traffic(rig, card)
        transfers(rig, card)
    for cpu in range(rig.machine.cpus):
        reloads_the_driver(rig, cpu)
        for card in cards[:2]:
            require_traffic(rig, card)
    reboots(rig)
    for card in cards:
        require_traffic(rig, card)


@pytest.mark.parametrize("memory", ["shared", "private"])
def test_life(make_rig, memory):
    rig = make_rig(memory)
    split, packed, by_message, queued, split_pin, packed_pin = rig.cards
    rig.vm.start()
    with rig.vm.qmp() as monitor:
        packed.plug(monitor)
        by_message.plug(monitor, **{"x-no-posted-writes": True})
        queued.plug(monitor, **{"x-send-queued": True})
        split_pin.plug(monitor)
        packed_pin.plug(monitor)
    assert [card.has_feature(RING_PACKED_BIT) for card in rig.cards] == [card.function.packed for card in rig.cards]
    lives(rig, rig.cards)
    for card in (split, packed, by_message, queued):
        is_interrupted(card)
        require_kicks(card)
    with rig.vm.qmp() as monitor:
        for card in (split_pin, packed_pin):
            is_plugged_again(rig, card, monitor)
    loses_its_device(rig, split)


def test_half_of_the_memory(make_rig):
    """Rings and buffers in memory that softaccel can map, and in memory that it cannot."""
    rig = make_rig("half")
    rig.vm.start()
    with rig.vm.qmp() as monitor:
        rig.cards[1].plug(monitor)
    lives(rig, rig.cards[:2])


def refuses_a_second_vm(rig, card, supervisor, store):
    """While the first one's packets flow."""
    stream = PingStream(rig.vm, UPLINK_ADDRESS)
    second = Vm(supervisor, "guest1", prepare.machine([VfioUser(card.function.socket)], store,
                                                      program=rig.machine.program))
    second.launch()
    assert second.wait_end() == 1
    require_all(stream.finish(), "pings beside a second VM")
    assert "a second client was turned away" in rig.softaccel.process.log()


def loses_the_vm(rig, card):
    """With packets under way. @return what softaccel still holds."""
    before = card.queues()
    flood = rig.vm.spawn(f"ping -A {UPLINK_ADDRESS}")
    wait_until(lambda: card.queues()[0]["packets"] > before[0]["packets"] + PINGS, WAIT_SECONDS, "packets")
    assert flood.status() is None
    rig.vm.kill()
    rig.softaccel.process.wait_for_line("client disconnected", WAIT_SECONDS)
    require_stopped(card)
    after = card.queues()
    assert all(after[queue]["packets"] > before[queue]["packets"] for queue in (0, 1))
    return leaks.lent(rig.softaccel.process.pid)


def no_more_is_held(rig, held):
    return all(now <= before for now, before in zip(leaks.lent(rig.softaccel.process.pid), held))


def unplugs_its_device(rig, card):
    """One with MSI-X, which stock QEMU does not survive."""
    before = card.queues()
    try:
        with rig.vm.qmp() as monitor:
            card.unplug(monitor)
    except TestvmError:
        assert rig.vm.wait_end() == -signal.SIGABRT
        assert UNPLUG_ABORT in rig.vm.log()
    require_stopped(card)
    after = card.queues()
    assert all(after[queue]["packets"] >= before[queue]["packets"] > 0 for queue in (0, 1))


@pytest.mark.parametrize("memory", ["shared", "private"])
def test_ends(make_rig, supervisor, store, memory):
    rig = make_rig(memory)
    card = rig.cards[0]
    _, mappings = leaks.lent(rig.softaccel.process.pid)
    rig.vm.start()
    require_traffic(rig, card)
    refuses_a_second_vm(rig, card, supervisor, store)
    # What the first client made it open, such as eventfds of its own, it keeps and uses again.
    held = loses_the_vm(rig, card)
    assert held[1] == mappings
    rig.vm.start()
    require_traffic(rig, card)
    unplugs_its_device(rig, card)
    # A driver that had time to stop its queues leaves less.
    wait_until(lambda: no_more_is_held(rig, held), WAIT_SECONDS, f"no more is held than {held}")
