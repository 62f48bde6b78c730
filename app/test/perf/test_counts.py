# SPDX-License-Identifier: BSD-3-Clause
"""What fixed work costs in instructions, system calls and allocations is what was committed, within a few per cent."""

import os
import pathlib
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "devtools"))
import instcount  # noqa: E402

BUILD = pathlib.Path(os.environ.get("RINGPASS_BUILD_DIR") or TOP / "build")
COMMITTED = instcount.load(TOP)
WHY_NOT = instcount.why_not(BUILD, COMMITTED)
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture(scope="module")
def counts():
    found = instcount.scenarios(BUILD)
    return instcount.count_all(found, list(found))


def test_each_has_a_committed_count(counts):
    new = sorted(set(counts) - set(COMMITTED["scenarios"]))
    gone = sorted(set(COMMITTED["scenarios"]) - set(counts))
    assert not new and not gone, (f"no committed count of {new}, no scenario for {gone}: "
                                  "devtools/count-instructions --update --why 'REASON'")


@pytest.mark.parametrize("name", sorted(COMMITTED["scenarios"]))
def test_costs_what_it_did(counts, name):
    said = instcount.verdict(name, COMMITTED["scenarios"][name], counts[name])
    if said is not None:
        pytest.fail(said, pytrace=False)


@pytest.mark.parametrize("name", ["vring_split", "vring_packed"])
def test_a_costlier_ring_is_found(name):
    """One allocation and one system call for each packet, let in behind rp_vring_dev_pop() (mutant.c)."""
    program = BUILD / "app/test/perf/count-mutant"
    operations = instcount.scenarios(BUILD)[name][1]
    said = instcount.verdict(name, COMMITTED["scenarios"][name], instcount.count(program, name, operations))
    assert said is not None
    for words in (f"{name}: one operation takes ", " instructions, was ", "limit 2 %",
                  "1 system calls, was 0", "1 allocations, was 0"):
        assert words in said
