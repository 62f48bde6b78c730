# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's virtio driver in a guest, through a direct queue and beside the host's librte_vhost: the benchmark's scenario,
once. What it measures decides nothing; that packets go round, that the queues are direct, and that the guest rings the
doorbell and not the relay, does."""

import time

import pytest

from ringpass_bench import guest
from ringpass_stack.testpmd import is_installed
from ringpass_testvm import Supervisor

TURN_SECONDS = 0.5
# Who shares two CPUs with others may carry nothing in a turn; nobody carries nothing for so long.
LIMIT_SECONDS = 120
PACKED_BIT = 34

pytestmark = pytest.mark.skipif(not is_installed(), reason="dpdk-testpmd is not there (package dpdk-dev)")


def test_packets_go_round(build):
    with Supervisor("e2e") as supervisor:
        bench = guest.Bench(supervisor, build, packed=True)
        bench.start()
        before = bench.kicks("direct_kicks")
        for ports in (guest.OURS, guest.THEIRS):
            deadline = time.monotonic() + LIMIT_SECONDS
            while not bench.turn(ports, TURN_SECONDS):
                assert time.monotonic() < deadline, f"no packets by {ports}"
        direct, relayed = (bench.kicks(kind) for kind in ("direct_kicks", "relayed_kicks_after_map"))
        shown = bench.control.show("vm0")
    assert {queue["mode"] for queue in shown["queues"]} == {"direct"}
    assert int(shown["features_acked"], 0) >> PACKED_BIT & 1
    assert direct > before
    assert relayed == 0
