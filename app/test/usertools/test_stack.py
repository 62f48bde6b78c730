# SPDX-License-Identifier: BSD-3-Clause
"""How pings are counted, and how the demo judges: by made-up figures, without a VM."""

import json
import pathlib
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_stack import ping  # noqa: E402
from ringpass_stack.programs import Port  # noqa: E402
from ringpass_stack.summary import Figures  # noqa: E402
from ringpass_testvm.errors import TestvmError  # noqa: E402

INTERVAL = 0.1


def replies(*lost, count=100):
    """{sequence: time of sending} of all but the lost ones; the first is sent at 10 s."""
    return {sequence: 10 + sequence * INTERVAL for sequence in range(count) if sequence not in lost}


def test_a_port_with_more_keys():
    port = Port("vm0", "/run/vm0.sock", ["vfio-user,socket=/f0", "vfio-user,socket=/f1"], queue_pairs=4,
                more={"memory": '"table"', "doorbell_delay_ms": 300})
    assert port.text() == ('{ name = "vm0"; socket = "/run/vm0.sock"; mode = "server"; queue_pairs = 4; '
                           'accelerators = ( "vfio-user,socket=/f0", "vfio-user,socket=/f1" ); memory = "table"; '
                           "doorbell_delay_ms = 300; }")


def test_parse():
    text = ("5.00 PING 10.0.0.1 (10.0.0.1): 56 data bytes\n"
            "5.25 64 bytes from 10.0.0.1: seq=0 ttl=64 time=250.000 ms\n"
            "9.50 64 bytes from 10.0.0.1: seq=12 ttl=64 time=0.500 ms\n"
            "9.50 64 bytes from 10.0.0.1: seq=13 ttl=64 ti")
    assert ping.parse(text) == {0: 5.0, 12: 9.4995}


@pytest.mark.parametrize("second", ["seq=3 ttl=64 time=2.0 ms (DUP!)", "seq=3 ttl=64 time=2.0 ms"])
def test_a_second_answer_is_an_error(second):
    text = f"1.00 64 bytes from h: seq=3 ttl=64 time=1.0 ms\n1.10 64 bytes from h: {second}\n"
    with pytest.raises(TestvmError, match="1 pings were answered twice, expected 0 at most:\n1.00 .*\n1.10 "):
        ping.parse(text)
    assert ping.parse(text, 1) == {3: 0.999}


def test_a_line_that_the_guest_wrote_twice_is_one_answer():
    text = ("29.29 64 bytes from 10.77.0.1: seq=7 ttl=64 time=2.367 ms\n"
            "29.30 64 bytes from 10.77.0.1: seq=7 ttl=64 time=2.367 ms\n")
    assert ping.parse(text) == {7: 29.287633}


def test_a_loss_outside_of_the_windows_counts():
    report = ping.judge(replies(0, 50, 99), 100, INTERVAL, [])
    assert (report.sent, report.received, report.lost) == (100, 97, [0, 50, 99])


def test_a_loss_inside_is_counted_apart():
    report = ping.judge(replies(31, 33, 60), 100, INTERVAL, [ping.Window(13.05, 13.45)])
    # 30 to 35: within the window, or not further from it than one interval
    assert (report.sent_in_windows, report.lost_in_windows) == (6, 2)
    assert (report.sent, report.received, report.lost) == (94, 93, [60])


def test_the_tail_and_the_head_can_be_lost():
    report = ping.judge(replies(0, 1, 98, 99), 100, INTERVAL, [ping.Window(10, 10.1), ping.Window(19.8, 19.9)])
    assert report.lost == []
    assert report.lost_in_windows == 4


def test_no_answer_at_all():
    report = ping.judge({}, 5, INTERVAL, [ping.Window(0, 100)])
    assert (report.sent, report.received, report.lost) == (5, 0, [0, 1, 2, 3, 4])


def figures(**changes):
    made = Figures()
    queue = {"queue": 0, "direction": "rx", "mode": "direct", "direct_kicks": 4, "relayed_kicks": 1,
             "relayed_kicks_after_map": 0, "device_interrupts": 3, "relayed_interrupts": 0, "moves": 0}
    made.queues = [{**queue, **changes}]
    made.add_pings(ping.Report(sent=10, received=10, sent_in_windows=4, lost_in_windows=3))
    return made


def test_good_figures():
    made = figures()
    assert made.problems() == []
    line = json.loads(made.json("ok"))
    assert line["demo"] == "ok"
    assert (line["pings_sent"], line["pings_received"], line["pings_lost_in_toggles"]) == (10, 10, 3)
    assert (line["direct_kicks"], line["relayed_kicks"], line["relayed_interrupts"]) == (4, 1, 0)
    assert [len(row) for row in made.table()] == [len(made.table()[0])] * 2


@pytest.mark.parametrize("changes, words", [
    ({"relayed_kicks_after_map": 1}, "after the doorbell was mapped"),
    ({"relayed_interrupts": 1}, "interrupts relayed"),
    ({"direct_kicks": 0}, "direct store"),
])
def test_bad_figures(changes, words):
    problems = figures(**changes).problems()
    assert len(problems) == 1
    assert words in problems[0]


def test_a_lost_ping_fails_the_demo():
    made = figures()
    made.add_pings(ping.Report(sent=1))
    assert made.problems() == ["1 pings lost while nothing was toggled"]
