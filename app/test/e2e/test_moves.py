# SPDX-License-Identifier: BSD-3-Clause
"""The queues of a real guest move between an accelerator and testpmd, again and again, under its traffic.

RINGPASS_MOVES: how many; seven of ten that arrive on hardware wait there until the doorbell is mapped again, so that
the next one takes it away; the others move on at once. By hand: RINGPASS_MOVES=500.
"""

import os
import random
import statistics
import time

import pytest
from frontend import Frontend

from ringpass_stack.bulk import Bulk
from ringpass_stack.ping import PingStream
from ringpass_stack.programs import UPLINK_MAC
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm import supervise

MOVES = int(os.environ.get("RINGPASS_MOVES") or 30)
SEED = int(os.environ.get("RINGPASS_SEED") or random.randrange(1 << 32))
MODE_SECONDS = 60
LOSS_SECONDS = 5  # a ping without an answer is lost after one
MAC, ADDRESS = "52:54:00:00:00:01", "10.77.0.2"
# Long enough for a busy machine to bring back what was sent.
DRAIN_MS = 100
ROUNDS = 15
MAPPED_SHARE = 0.7
PING_SECONDS = 0.05


class Mover:
    """Moves a guest's queues, and keeps the times."""

    def __init__(self, guest):
        self._guest = guest
        self.moves = 0
        self.mapped_ms = []

    def to_software(self):
        self._guest.move("software")
        self._guest.wait_modes("software", MODE_SECONDS)
        self.moves += 1

    def to_hardware(self, mapped):
        start = time.monotonic()
        self._guest.move("hardware")
        self.moves += 1
        if mapped:
            self._guest.wait_modes("direct", MODE_SECONDS)
            self.mapped_ms.append((time.monotonic() - start) * 1000)
        else:
            shown = self._guest.show()["queues"]
            assert {queue["owner"] for queue in shown} == {"hardware"}


def describe(queue):
    return (f"queue {queue['queue']}: {queue['moves_to_hardware']} to hardware, "
            f"{queue['moves_to_software']} to software, "
            f"nobody's for {queue['blackout_min_us']} / {queue['blackout_median_us']} / {queue['blackout_max_us']} us, "
            f"redone {queue['redone']}, mapped {queue['doorbell_maps']} times")


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_moves_of_a_guest(make_stack, packed):
    """Nothing of what is asked and answered is lost, and nothing of what is sent is changed."""
    print(f"RINGPASS_SEED={SEED}")
    chance = random.Random(SEED)
    count = MOVES if not packed else max(MOVES // 5, 4)
    stack = make_stack(software=True, queue_pairs=1, packed=packed, port_options={"drain_ms": DRAIN_MS},
                       machine_options={"memory_mib": 256})
    stack.start()
    guest = stack.guests[0]
    stream, bulk = PingStream(guest.vm, UPLINK_ADDRESS, PING_SECONDS), Bulk(guest.vm, UPLINK_ADDRESS)
    mover = Mover(guest)
    while mover.moves < count:
        mover.to_software()
        mover.to_hardware(mover.moves + 1 >= count or chance.random() < MAPPED_SHARE)
    received = bulk.finish()
    report = stream.finish()
    stack.require_alive()
    queues = guest.show()["queues"]
    print(f"{mover.moves} moves, {2 * len(mover.mapped_ms)} to or from a mapped doorbell, which took "
          f"{min(mover.mapped_ms):.0f} / {statistics.median(mover.mapped_ms):.0f} / {max(mover.mapped_ms):.0f} ms; "
          f"{received} bytes from the guest; {report.sent} pings, {len(report.lost)} lost")
    for queue in queues:
        print(describe(queue))
        assert queue["moves_to_hardware"] >= mover.moves // 2
        assert queue["moves_to_software"] == queue["moves_to_hardware"]
        assert queue["redone"] == queue["lost"] == 0
    require_all(report, "pings while queues move")
    assert guest.vm.boot_count == 1


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_moves_lose_nothing(make_stack, build, packed):
    """Without a VM, at the full rate: what was sent before a move comes back before the receive ring changes hands."""
    stack = make_stack(software=True, queue_pairs=1, port_options={"drain_ms": DRAIN_MS, "doorbell_delay_ms": 5})
    stack.start_host()
    stack.bridge.expect(ADDRESS, MAC)
    frontend = Frontend(stack.supervisor, build, stack.supervisor.path("vm0.sock"), 1, MAC, ADDRESS, UPLINK_MAC,
                        UPLINK_ADDRESS, packed)
    frontend.start()
    frontend.connect()
    frontend.do("traffic on")
    frontend.wait_traffic()
    for _ in range(ROUNDS):
        for wish in ("software", "hardware"):
            stack.control.move("vm0", wish)
            frontend.wait_traffic()
    frontend.do("traffic off")
    supervise.wait_until(lambda: frontend.counts()["out"] == 0, LOSS_SECONDS, "every ping is answered, or lost")
    counts = frontend.counts()
    print(counts)
    frontend.require_sane(counts)
    assert counts["lost"] == counts["late"] == 0
    for queue in stack.control.show("vm0")["queues"]:
        assert queue["moves_to_hardware"] == queue["moves_to_software"] == ROUNDS
