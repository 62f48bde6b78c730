# SPDX-License-Identifier: BSD-3-Clause
"""What is compared with committed counts, and what is written when they are replaced."""

import json
import pathlib
import subprocess
import sys

import house
import pytest

sys.path.insert(0, str(house.TOP / "devtools"))
import instcount  # noqa: E402

RECORD = {"instructions": 200.0, "system_calls": 0.25, "allocations": 0.0, "limit_percent": 2.0, "why": "before"}
SAME = instcount.Count(200.0, 0.25, 0.0)
# As callgrind writes it: 32 calls, the line, instructions, system calls, their time (nothing after the last that is not 0).
CALLGRIND = "version: 1\nevents: Ir sysCount sysTime\nfn=do_round\n20 1\ncfn=count_measured\ncalls=32 15 \n27 6400{}\n\n"


@pytest.mark.parametrize("now, words", [
    (instcount.Count(203.9, 0.25, 0.0), None),
    (instcount.Count(196.1, 0.25, 0.0), None),
    (instcount.Count(204.2, 0.25, 0.0), "204.2 instructions, was 200.0 (+2.1 %, limit 2 %)"),
    # Left alone, it would let as much in again.
    (instcount.Count(195.8, 0.25, 0.0), "195.8 instructions, was 200.0 (-2.1 %, limit 2 %)"),
    (instcount.Count(200.0, 1.25, 0.0), "1.25 system calls, was 0.25"),
    (instcount.Count(200.0, 0.0, 0.0), "0 system calls, was 0.25"),
    (instcount.Count(200.0, 0.25, 0.03), "0.03 allocations, was 0"),
])
def test_verdict(now, words):
    said = instcount.verdict("ring", RECORD, now)
    if words is None:
        assert said is None
    else:
        assert words in said
        assert "count-instructions --update --why 'REASON' ring" in said


@pytest.mark.parametrize("rest, count", [
    ("", instcount.Count(100.0, 0.0, 0.5)),
    (" 128", instcount.Count(100.0, 2.0, 0.5)),
    (" 128 7", instcount.Count(100.0, 2.0, 0.5)),
])
def test_parse(rest, count):
    assert instcount.parse(CALLGRIND.format(rest), "EAL: hello\nallocations 32\n", 64) == count


@pytest.mark.parametrize("callgrind, printed", [
    (CALLGRIND.format("").replace("count_measured", "main"), "allocations 0\n"),
    (CALLGRIND.format(""), "killed\n"),
])
def test_nothing_counted_is_no_count(callgrind, printed):
    with pytest.raises(instcount.CountError):
        instcount.parse(callgrind, printed, 1)


def test_update_keeps_the_reason_of_what_did_not_move():
    committed = {"taken_with": {"compiler": "gcc 1"}, "scenarios": {"ring": RECORD, "port": RECORD, "other": RECORD}}
    result = instcount.updated(committed, {"ring": SAME, "port": instcount.Count(190.04, 0.25, 1.0),
                                           "new": SAME}, "less is done twice", {"compiler": "gcc 2"})
    assert result["taken_with"] == {"compiler": "gcc 2"}
    assert result["scenarios"]["ring"] == result["scenarios"]["other"] == RECORD
    assert result["scenarios"]["port"] == {**RECORD, "instructions": 190.0, "allocations": 1.0,
                                           "why": "less is done twice"}
    assert result["scenarios"]["new"] == {**RECORD, "why": "less is done twice"}


def test_counts_of_another_build_are_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(instcount, "taken_with", lambda build_dir: {"compiler": "gcc 13.1.0", "machine": "x86_64"})
    monkeypatch.setattr(instcount.shutil, "which", lambda name: f"/usr/bin/{name}")
    committed = {"taken_with": {"compiler": "gcc 12.2.0", "machine": "x86_64"}}
    assert "not built" in instcount.why_not(tmp_path, committed)
    (tmp_path / "app/test/perf").mkdir(parents=True)
    (tmp_path / "app/test/perf" / instcount.PROGRAMS[0]).touch()
    assert "compiler gcc 13.1.0, not gcc 12.2.0" in instcount.why_not(tmp_path, committed)
    committed["taken_with"]["compiler"] = "gcc 13.1.0"
    assert instcount.why_not(tmp_path, committed) is None
    monkeypatch.setattr(instcount.shutil, "which", lambda name: None)
    assert "valgrind is missing" in instcount.why_not(tmp_path, committed)


def test_no_update_without_a_reason():
    run = subprocess.run([house.TOP / "devtools/count-instructions", "--update"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "--why" in run.stderr


def test_each_committed_count_has_a_reason():
    committed = json.loads((house.TOP / instcount.COMMITTED).read_text())
    assert isinstance(instcount.COMMITTED, pathlib.Path) and committed["scenarios"]
    for name, record in committed["scenarios"].items():
        assert record["why"].strip(), name
        assert 0 < record["limit_percent"] <= 5, name


def test_the_document_has_these_counts():
    found = instcount.TABLE.search((house.TOP / instcount.DOCUMENT).read_text())
    assert found, f"{instcount.DOCUMENT} has lost the two lines around its table"
    assert found[0] == instcount.table(instcount.load(house.TOP)), "devtools/count-instructions --update --why 'REASON'"
