# SPDX-License-Identifier: BSD-3-Clause
"""Where a doorbell cannot be mapped, kicks are relayed, traffic flows, and the reason can be read."""

import pytest

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all

PINGS = 20


def require_relayed(guest):
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings")
    queues = guest.wait_modes("relayed")["queues"]
    assert sum(queue["relayed_kicks"] for queue in queues) > 0
    assert sum(queue["direct_kicks"] for queue in queues) == 0
    # only the doorbell is missing: interrupts go as directly as ever
    assert sum(queue["relayed_interrupts"] for queue in queues) == 0
    return queues


@pytest.mark.parametrize("options", [
    {"page_per_vq": False},
    {"doorbell": "shared"},
    {"doorbell": "none"},
], ids=["no-page-per-vq", "shared-page", "no-page"])
def test_no_doorbell(make_stack, options):
    stack = make_stack(uplink=True, **options)
    stack.start("relayed")
    for queue in require_relayed(stack.guests[0]):
        assert queue["reason"]


def test_user_wants_relay(make_stack):
    """And back: the doorbell is mapped again while the guest runs."""
    stack = make_stack(uplink=True)
    stack.start()
    guest = stack.guests[0]
    before = sum(queue["direct_kicks"] for queue in guest.show()["queues"])
    stack.control.mode(guest.port, "relay")
    guest.wait_modes("relayed")
    relayed = sum(queue["relayed_kicks"] for queue in guest.show()["queues"])
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings by relay")
    assert sum(queue["relayed_kicks"] for queue in guest.show()["queues"]) > relayed
    stack.control.mode(guest.port, "auto")
    guest.wait_modes()
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings by direct store")
    assert sum(queue["direct_kicks"] for queue in guest.show()["queues"]) > before
