# SPDX-License-Identifier: BSD-3-Clause
"""Guests on ports of one softaccel."""

from ringpass_stack import transfer
from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all

PINGS = 30


def require_direct(guest):
    """Every queue is direct, and nothing went through ringpassd that did not have to."""
    queues = guest.wait_modes()["queues"]
    assert sum(queue["direct_kicks"] for queue in queues) > 0
    assert sum(queue["relayed_kicks_after_map"] for queue in queues) == 0
    assert sum(queue["relayed_interrupts"] for queue in queues) == 0


def test_ping_each_other(make_stack):
    stack = make_stack(guests=2)
    stack.start()
    first, second = stack.guests
    require_all(ping(first.vm, second.address, PINGS), "first to second")
    require_all(ping(second.vm, first.address, PINGS), "second to first")
    for guest in stack.guests:
        require_direct(guest)


def test_one_guest_on_two_functions(make_stack):
    """The queue pairs of one port are on different functions; one flow uses both."""
    stack = make_stack(functions_per_guest=2, uplink=True)
    stack.start()
    guest = stack.guests[0]
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings")
    sent = transfer.to_guest(guest.vm, UPLINK_ADDRESS, 8 << 20)
    transfer.from_guest(guest.vm, UPLINK_ADDRESS, sent)
    require_direct(guest)
    queues = guest.show()["queues"]
    assert [queue["accelerator"] for queue in queues] == [0, 0, 1, 1]
    assert all(sum(queue["packets"] for queue in queues if queue["accelerator"] == number) for number in (0, 1))
