# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's current release: the main job (other messages, acknowledgements of more of them, MSI-X under TCG), several
queue pairs on one and on many functions, rings of both layouts, and a device without pages per queue."""

import json
import os
import socket
import subprocess
import sys

import pytest
from conftest import TOP

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm.supervise import wait_until

DEMO_SECONDS = 600
PINGS = 10
FLOWS = 64
DISCARD_PORT = 9
ARRIVE_SECONDS = 30
MQ_BIT = 22
RING_PACKED_BIT = 34


def test_demo(build, current_qemu):
    demo = subprocess.run([sys.executable, str(TOP / "usertools" / "ringpass-demo"), "--build-dir", build.directory],
                          env={**os.environ, "RINGPASS_QEMU": current_qemu}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEMO_SECONDS)
    print(demo.stdout)
    assert demo.returncode == 0
    result = json.loads(demo.stdout.strip().splitlines()[-1])
    assert result["demo"] == "ok"
    assert result["direct_kicks"] > 0
    assert result["relayed_kicks_after_map"] == 0
    assert result["relayed_interrupts"] == 0


def column(guest, name):
    return [queue[name] for queue in guest.show()["queues"]]


def require_transmit(guest, pairs):
    """The guest's CPU n sends on pair n; each pair's doorbell is rung by the guest itself."""
    packets, kicks = column(guest, "packets"), column(guest, "direct_kicks")
    for pair in range(pairs):
        guest.vm.run(f"taskset {1 << pair:x} ping -c {PINGS} -i 0.02 -W 20 {UPLINK_ADDRESS}")
    packets_now, kicks_now = column(guest, "packets"), column(guest, "direct_kicks")
    for queue in range(1, 2 * pairs, 2):
        assert packets_now[queue] >= packets[queue] + PINGS, f"queue {queue}: {packets} {packets_now}"
        assert kicks_now[queue] > kicks[queue], f"queue {queue}: {kicks} {kicks_now}"


def require_receive(guest, pairs):
    """Many flows to the guest reach every pair."""
    before = column(guest, "packets")
    for _ in range(FLOWS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.sendto(b"one of many flows", (guest.address, DISCARD_PORT))

    def arrived():
        now = column(guest, "packets")
        return all(now[queue] > before[queue] for queue in range(0, 2 * pairs, 2))
    wait_until(arrived, ARRIVE_SECONDS, "a packet on each receive queue")


def features(guest):
    return int(guest.show()["features_acked"], 16)


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("pairs, functions", [(2, 1), (4, 4)])
def test_queue_pairs(make_stack, current_qemu, pairs, functions, packed):
    stack = make_stack(uplink=True, queue_pairs=pairs, functions_per_guest=functions, packed=packed,
                       machine_options={"program": current_qemu, "cpus": pairs, "programs": ["ethtool"]})
    stack.start()
    guest = stack.guests[0]
    assert features(guest) >> MQ_BIT & 1
    assert features(guest) >> RING_PACKED_BIT & 1 == packed
    assert len(guest.show()["queues"]) == 2 * pairs
    require_transmit(guest, pairs)
    require_receive(guest, pairs)
    guest.vm.run("ethtool -L eth0 combined 1")
    expected = {queue: "direct" if queue < 2 else "stopped" for queue in range(2 * pairs)}
    shown = guest.wait_modes(expected)
    assert {queue["reason"] for queue in shown["queues"][2:]} == {"disabled by the frontend"}
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings by one pair")
    guest.vm.run(f"ethtool -L eth0 combined {pairs}")
    guest.wait_modes()
    require_transmit(guest, pairs)
    require_receive(guest, pairs)
    # QEMU would accept a notify area for the control queue, which comes after the pairs
    assert f"queue={2 * pairs}" not in stack.ringpassd.process.log()
    assert sum(column(guest, "relayed_kicks_after_map")) == 0


def test_without_page_per_vq(make_stack, current_qemu):
    """Relayed for good, said once for each queue, and traffic flows."""
    stack = make_stack(uplink=True, page_per_vq=False, machine_options={"program": current_qemu})
    stack.start("relayed")
    guest = stack.guests[0]
    for _ in range(3):
        require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings by relay")
    assert all("page-per-vq" in reason for reason in column(guest, "reason"))
    assert sum(column(guest, "direct_kicks")) == sum(column(guest, "doorbell_maps")) == 0
    assert sum(column(guest, "relayed_interrupts")) == 0
    assert stack.ringpassd.process.log().count("event=doorbell-refused") == len(column(guest, "queue"))
