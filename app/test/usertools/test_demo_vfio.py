# SPDX-License-Identifier: BSD-3-Clause
"""How make demo-vfio counts and judges: by made-up figures, without a VM."""

import copy
import json
import pathlib
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_stack import demo_vfio  # noqa: E402
from ringpass_stack.demo_vfio import Moment, VfioFigures  # noqa: E402

INTERRUPTS = """\
           CPU0       CPU1
  4:        103          0   IO-APIC   4-edge      ttyS0
 24:          0          0   PCI-MSI 49152-edge      virtio0-config
 25:         12          3   PCI-MSI 49153-edge      virtio0-input.0
 26:          7          0   PCI-MSI 49154-edge      virtio0-output.0
 27:          0          5   PCI-MSI 49155-edge      virtio0-input.1
NMI:          0          0   Non-maskable interrupts
"""


def shown(relayed=2, after_map=0):
    return [{"queue": queue, "direction": "rx" if queue == 0 else "tx", "mode": "direct", "relayed_kicks": relayed,
             "relayed_kicks_after_map": after_map, "direct_kicks": 0, "device_interrupts": 0, "relayed_interrupts": 0,
             "moves": 0} for queue in (0, 1)]


def report(**changes):
    """What examples/master prints, but for what nobody looks at."""
    queues = [{"role": "receive", "doorbell_kicks": 1, "eventfd_kicks": 0, "interrupts": 3, "chains": 3},
              {"role": "transmit", "doorbell_kicks": 300, "eventfd_kicks": 0, "interrupts": 250, "chains": 300}]
    return {"vfio_files": 1, "files_added": 1, "files_removed": 1, "queues": queues, **changes}


def figures(master, queues=None):
    one = VfioFigures()
    one.master = master
    one.queues = queues or [{**queue, "direct_kicks": 9} for queue in shown()]
    return one


def test_interrupts_by_queue():
    assert demo_vfio.guest_interrupts(INTERRUPTS) == {0: 15, 1: 7, 2: 5}


def test_only_what_happened_between_two_moments_counts():
    before = Moment(shown(relayed=2), {0: 5, 1: 11}, {0: 15, 1: 7})
    after = Moment(shown(relayed=2), {0: 6, 1: 111}, {0: 25, 1: 77})
    rx, tx = demo_vfio.rows(before, after)
    assert (rx["direct_kicks"], rx["device_interrupts"]) == (1, 10)
    assert (tx["direct_kicks"], tx["device_interrupts"]) == (100, 70)
    assert (tx["relayed_kicks"], tx["relayed_kicks_after_map"]) == (2, 0)


def test_a_relayed_kick_is_not_a_direct_one():
    before = Moment(shown(relayed=2), {1: 11}, {})
    after = Moment(shown(relayed=5), {1: 14}, {})
    tx = demo_vfio.rows(before, after)[1]
    assert (tx["direct_kicks"], tx["relayed_kicks_after_map"]) == (0, 3)
    assert any("3 kicks relayed" in problem for problem in figures(report(), [tx]).problems())


def test_stores_are_compared_with_what_the_hardware_saw():
    before = Moment(shown(), {0: 2, 1: 1}, {})
    found, differ = demo_vfio.master_rows(before, Moment(shown(), {0: 3, 1: 301}, {}), report())
    assert differ == {}
    assert [row["direct_kicks"] for row in found] == [1, 300]
    assert [row["device_interrupts"] for row in found] == [3, 250]
    _, differ = demo_vfio.master_rows(before, Moment(shown(), {0: 3, 1: 290}, {}), report())
    assert differ == {1: (300, 289)}


def test_what_is_well():
    one = figures(report())
    assert one.problems() == []
    line = json.loads(one.json("ok"))
    assert (line["vfio_group_passed"], line["kvm_vfio_file_added"], line["kvm_vfio_file_removed"]) == (True, 1, 1)
    assert (line["master_direct_kicks"], line["master_interrupts"], line["master_packets"]) == (301, 253, 300)


def broken(change):
    master = copy.deepcopy(report())
    change(master)
    return master


@pytest.mark.parametrize("change, words", [
    (lambda master: master.update(files_added=0, files_removed=0), "no VFIO group was added"),
    (lambda master: master.update(files_removed=0), "of 1 VFIO files 0 were removed"),
    (lambda master: master["queues"][1].update(eventfd_kicks=4), "4 times by eventfd"),
    (lambda master: [queue.update(doorbell_kicks=0) for queue in master["queues"]], "did not store"),
    (lambda master: [queue.update(interrupts=0) for queue in master["queues"]], "was not interrupted"),
])
def test_what_is_not(change, words):
    problem, = figures(broken(change)).problems()
    assert words in problem


def test_a_difference_is_a_problem():
    one = figures(report())
    one.differ = {1: (300, 289)}
    problem, = one.problems()
    assert "stored 300 times" in problem and "kicked 289 times" in problem


def test_no_second_half():
    one = figures(None)
    assert one.problems() == ["examples/master did not get to its end"]
    assert json.loads(one.json("failed"))["vfio_group_passed"] is False
