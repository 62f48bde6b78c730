# SPDX-License-Identifier: BSD-3-Clause
"""How testpmd's counters are read, and its command line: by what it has printed once, without DPDK."""

import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_stack.backend_testpmd import NetVhost, Tap  # noqa: E402
from ringpass_stack.testpmd import PortCounters, VirtioUser, parse_counters  # noqa: E402

PRINTED = """
###### NIC extended statistics for port 0
rx_good_packets: 96
tx_good_packets: 70
rx_missed_errors: 0
rx_errors: 2
tx_errors: 0
rx_mbuf_allocation_errors: 0
rx_q0_good_packets: 64
rx_q0_good_bytes: 4096
rx_q0_errors: 0
rx_q0_size_64_packets: 64
rx_q1_good_packets: 32
tx_q0_good_packets: 38
tx_q1_good_packets: 32
Port 1: link state change event
###### NIC extended statistics for port 1
rx_q0_good_packets: 5
tx_q0_good_packets: 7
"""


def test_counters():
    ports = parse_counters(PRINTED)
    assert ports == {0: PortCounters({0: 64, 1: 32}, {0: 38, 1: 32}, {"rx_errors": 2}),
                     1: PortCounters({0: 5}, {0: 7}, {})}
    assert (ports[0].received, ports[0].sent) == (96, 70)


def test_nothing_printed():
    assert parse_counters("Bad arguments\n") == {}


def test_device():
    port = VirtioUser("/s", "52:54:00:00:00:01", "52:54:00:00:00:02", queues=2, packed=True, listens=True)
    assert port.device(3) == ("net_virtio_user3,path=/s,queues=2,queue_size=256,packed_vq=1,server=1,"
                              "mac=52:54:00:00:00:01")
    port.more = "in_order=0"
    assert port.device(3).endswith(",mac=52:54:00:00:00:01,in_order=0")


def test_device_of_a_backend():
    assert NetVhost("/s", 2).device(0) == "net_vhost0,iface=/s,queues=2,client=0"
    assert NetVhost("/s", 1, listens=False, more="tso=1").device(2) == "net_vhost2,iface=/s,queues=1,client=1,tso=1"
    assert Tap("t0", "52:54:00:00:02:00", 2).device(1) == "net_tap1,iface=t0,mac=52:54:00:00:02:00"
