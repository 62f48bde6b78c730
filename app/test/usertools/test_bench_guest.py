# SPDX-License-Identifier: BSD-3-Clause
"""The scenario "guest" without a guest: what is read from testpmd, and what its rows say."""

import pathlib
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))
from ringpass_bench import guest  # noqa: E402
from ringpass_bench.context import Context  # noqa: E402
from ringpass_bench.errors import BenchError  # noqa: E402
from ringpass_stack.guest_testpmd import GuestTestpmd, parse_stats  # noqa: E402
from ringpass_testvm import TestvmError  # noqa: E402
from ringpass_testvm.agent import Result  # noqa: E402

STATS = """
  ######################## NIC statistics for port {}  ########################
  RX-packets: {}     RX-missed: 0          RX-bytes:  22469568
  RX-errors: 0
  RX-nombuf:  0
  TX-packets: 358734     TX-errors: 0          TX-bytes:  22958976

  Throughput (since last show)
  Rx-pps:       {}          Rx-bps:      2500000
  Tx-pps:         4884          Tx-bps:      2500648
  ############################################################################
"""


class FakeVm:
    name = "guest"

    def __init__(self, answers):
        self._answers = answers
        self.scripts = []

    def run(self, script, *_arguments):
        self.scripts.append(script)
        return Result(0, self._answers.pop(0))


def test_the_last_counters_count():
    text = STATS.format(0, 10, 0) + STATS.format(1, 20, 0) + STATS.format(0, 30, 400) + STATS.format(1, 40, 500)
    assert parse_stats(text) == {0: {"RX-packets": 30, "TX-packets": 358734, "Rx-pps": 400},
                                 1: {"RX-packets": 40, "TX-packets": 358734, "Rx-pps": 500}}


def test_an_answer_ends_at_the_mark():
    vm = FakeVm(["testpmd> one\nChange verbose level from 0 to 0\ntestpmd> "])
    assert GuestTestpmd(vm, []).command("one", 0.25, "two") == "testpmd> one\n"
    words = vm.scripts[0]
    assert words.index("echo 'one' >&3") < words.index("usleep 250000") < words.index("echo 'two' >&3")


def test_no_answer_is_said_with_the_last_words():
    with pytest.raises(TestvmError, match="does not answer; it has said: EAL: no"):
        GuestTestpmd(FakeVm(["EAL: no memory", "EAL: no memory"]), []).command("one")


def test_a_row_is_of_pairs(tmp_path):
    context = Context(str(tmp_path), quick=False, facts={"flags": "-O2"})
    row = guest.row_of(context, "split", [(10.0, 20.0), (30.0, 20.0), (20.0, 20.0)])
    assert (row["bench"], row["value"], row["peer_value"], row["ratio"], row["runs"], row["flags"]) == (
        "guest_pps_split_64", 20.0, 20.0, 1.0, 3, "-O2")
    assert row["spread"] == pytest.approx(0.5)
    assert guest.row_of(context, "packed", [(10.0, 20.0)])["spread"] == 0


def test_a_pair_in_which_only_ours_carried_nothing_counts(tmp_path, capsys):
    context = Context(str(tmp_path), quick=False, facts={"flags": "-O2"})
    kept = guest.comparable("split", [(10.0, 20.0), (0, 20.0), (5.0, 0), (0, 0), (0, 20.0)])
    assert kept == [(10.0, 20.0), (0, 20.0), (0, 20.0)]
    said = capsys.readouterr().err
    assert "2 pairs discarded" in said and "2 pairs in which ours" in said
    row = guest.row_of(context, "split", kept)
    assert (row["ratio"], row["runs"]) == (0, 3)


@pytest.mark.parametrize("pairs", [[(0, 20.0)], [(5.0, 0)], []])
def test_no_packets_is_an_error(pairs):
    with pytest.raises(BenchError, match="no packets"):
        guest.comparable("split", pairs)
