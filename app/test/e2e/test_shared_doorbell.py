# SPDX-License-Identifier: BSD-3-Clause
"""A function of more than eight queues: two of them have one doorbell, and each is mapped and rung."""

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all

# A guest uses a pair for each processor.
QUEUE_PAIRS, CPUS = 5, 2
USED = dict.fromkeys(range(2 * CPUS), "direct")
PINGS = 50


def test_two_queues_of_one_page(make_stack):
    stack = make_stack(uplink=True, queue_pairs=QUEUE_PAIRS, machine_options={"cpus": CPUS})
    stack.start(USED)
    guest = stack.guests[0]
    before = sum(queue["direct_kicks"] for queue in guest.show()["queues"])
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings")
    queues = guest.wait_modes(USED)["queues"]
    assert sum(queue["direct_kicks"] for queue in queues) > before
    assert sum(queue["relayed_kicks_after_map"] for queue in queues) == 0
