# SPDX-License-Identifier: BSD-3-Clause
"""The driver around the benchmarks: what it runs, keeps and prints, with a program of the test's in place of the real."""
import json
import pathlib
import socket
import stat
import subprocess
import sys
import xml.dom.minidom

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
TOOL = TOP / "usertools" / "ringpass-bench"

sys.path.insert(0, str(TOP / "usertools"))
from ringpass_bench import cli, names, plots, ports, table  # noqa: E402
from ringpass_bench.errors import BenchError  # noqa: E402

ROW = {"bench": "translate_1m", "value": 90.0, "unit": "ns", "peer": "a <plain> load", "peer_value": 60.0, "ratio": 1.5,
       "runs": 9, "spread": 0.05, "placement": "one", "hop_ns": 0, "flags": "-O2"}
VALUE = {**ROW, "bench": "port_kib", "value": 70.0, "unit": "KiB", "peer": None, "peer_value": None, "ratio": None}
FACTS = {"facts": {"date": "2026-01-02", "cpu": "x", "kernel": "6", "compiler": "12", "flags": "-O2", "load": 0.1}}

PROGRAM = """#!/usr/bin/python3
import sys
if "--list" in sys.argv:
    print('{"scenario":"one","quick_s":1,"whole_s":2,"benches":"translate_1m"}')
    print('{"scenario":"two","quick_s":0,"whole_s":2,"benches":"port_kib"}')
    print('{"scenario":"bad","quick_s":1,"whole_s":2,"benches":"nothing"}')
    sys.exit(0)
print(%r)
print("a table, for people")
if "bad" in sys.argv:
    sys.exit(1)
print(%r if "one" in sys.argv else %r)
"""


@pytest.fixture
def build(tmp_path):
    program = tmp_path / "app" / "bench" / "ringpass-bench"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM % (json.dumps(FACTS), json.dumps(ROW), json.dumps(VALUE)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def run(build, *arguments):
    return subprocess.run([TOOL, "--build-dir", build, *arguments], capture_output=True, text=True, timeout=120,
                          check=False)


def results(build):
    return [json.loads(line) for line in (build / "bench" / "results.jsonl").read_text().splitlines()]


def test_facts_come_once_and_rows_know_their_scenario(build):
    done = run(build, "one", "two")
    assert done.returncode == 0, done.stderr
    assert results(build) == [FACTS, {**ROW, "scenario": "one"}, {**VALUE, "scenario": "two"}]
    assert [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")] == results(build)


def test_a_scenario_that_fails_takes_no_other_with_it(build):
    done = run(build, "bad", "one")
    assert done.returncode == 1
    assert "failed: bad" in done.stderr
    assert {**ROW, "scenario": "one"} in results(build)


def test_a_quick_run_leaves_out_what_is_not_quick(build):
    run(build, "--quick")
    assert {line.get("scenario") for line in results(build)} == {None, "one"}


def test_a_name_that_there_is_not(build):
    done = run(build, "slow")
    assert done.returncode == 2
    assert "expected one of: one, two, bad" in done.stderr


def test_nothing_is_built(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2
    assert "finished build" in done.stderr


def test_a_table_for_a_terminal():
    head, first, second = table.for_terminal([ROW, VALUE])
    assert first.split()[:7] == ["translate_1m", "one", "90.00", "60.00", "ns", "1.500", "0.050"]
    assert "at most 2   reached" in first
    assert "at most 64  not reached" in second and head.index("target") == first.index("at most")


def test_targets_hold_where_the_cpus_are_near():
    row = {**ROW, "bench": "doorbell_p50", "ratio": 0.04}
    assert table.verdict({**row, "placement": "near"}) == "reached"
    assert table.verdict({**row, "placement": "near", "ratio": 0.06}) == "not reached"
    assert table.verdict({**row, "placement": "far"}) == ""
    assert table.verdict({**row, "placement": "near", "bench": "vfu_region_rtt"}) == ""
    assert table.verdict({**row, "placement": "near", "bench": "pps_split_64", "ratio": 1.31}) == "reached"


def test_few_pairs_are_indicative():
    row = {**ROW, "bench": "doorbell_p50", "ratio": 0.04, "placement": "near"}
    assert [table.verdict({**row, "runs": runs}) for runs in (7, 8)] == ["indicative", "reached"]
    row = {**row, "bench": "pps_parity_split_64", "ratio": 0.5}
    assert [table.verdict({**row, "runs": runs}) for runs in (20, 21)] == ["indicative", "not reached"]
    assert table.verdict({**row, "placement": "far", "runs": 1}) == ""
    # Nothing was run in turns: it is what a daemon has.
    assert table.verdict({**VALUE, "placement": "host", "runs": 1}) == "not reached"


def test_a_rate_is_printed_with_its_idle_polls():
    rows = [{**ROW, "bench": bench, "placement": placement} for bench in ("idle_polls_split_64", "pps_split_64", "other")
            for placement in ("far", "near")]
    lines = [line.split("|") for line in table.for_readme({}, rows)][4:]
    assert [(line[2].strip(" `"), line[7].strip()) for line in lines] == [
        ("pps_split_64", "near"), ("idle_polls_split_64", "near"), ("pps_split_64", "far"), ("idle_polls_split_64", "far")]


def test_a_ratio_is_printed_with_its_interval():
    row = {**ROW, "bench": "pps_parity_split_64", "ratio": 0.995, "placement": "near"}
    ends = [{**VALUE, "bench": f"pps_parity_split_64_{end}", "value": value, "placement": placement}
            for end, value, placement in (("low", 98.5, "near"), ("high", 101, "near"), ("low", 50, "far"))]
    lines = [line.split("|") for line in table.for_readme({}, [row, *ends])][4:]
    assert [line[5].strip() for line in lines] == ["0.995, in 0.985 to 1.010 with 95 %"]


def test_a_table_for_the_readme(build):
    run(build, "one", "two")
    done = run(build, "--markdown")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2026-01-02, x, kernel 6, gcc 12 `-O2`")
    # In the order of the list of names, whatever was measured first.
    assert [line.split("|")[2].strip() for line in lines[4:]] == ["`port_kib`", "`translate_1m`"]
    assert "| `make bench BENCH=one` |" in lines[5] and "at most 2: reached" in lines[5]


def run_of(tmp_path, number, load, *rows):
    path = tmp_path / f"run{number}.jsonl"
    facts = {"facts": {**FACTS["facts"], "load": load}}
    path.write_text("".join(json.dumps(line) + "\n" for line in (facts, *rows)))
    return path


def test_runs_are_merged(tmp_path):
    near = {**ROW, "bench": "doorbell_p50", "placement": "near", "scenario": "doorbell", "runs": 9}
    paths = [run_of(tmp_path, 1, 0.1, {**near, "ratio": 0.04, "value": 80.0}, VALUE),
             run_of(tmp_path, 2, 0.3, {**near, "ratio": 0.06, "value": 120.0}, {**VALUE, "value": 60.0}),
             run_of(tmp_path, 3, 0.2, {**near, "ratio": 0.03, "value": 90.0, "runs": 16}, {**near, "placement": "far"})]
    done = run(tmp_path, "--markdown", *paths)
    lines = done.stdout.splitlines()
    assert "load 0.1, 0.3, 0.2, 3 runs" in lines[0] and "2026-01-02, x," in lines[0]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines[4:]]
    assert [line[2:10] for line in cells] == [
        ["`doorbell_p50`", "90.00 ns", "60.00 ns: a <plain> load", "0.0400 (0.0300 to 0.0600)",
         "at most 0.05: reached in 2 of 3 runs", "near", "3: 9, 0.05", "`make bench BENCH=doorbell`"],
        ["`doorbell_p50`", "90.00 ns", "60.00 ns: a <plain> load", "1.500", "at most 0.05", "far", "1: 9, 0.05",
         "`make bench BENCH=doorbell`"],
        ["`port_kib`", "65.00 (60.00 to 70.00) KiB", "", "", "at most 64: reached in 1 of 2 runs", "one", "2: 9, 0.05",
         "`make bench BENCH=`"]]


def test_runs_of_too_few_pairs_are_counted():
    row = {**ROW, "bench": "doorbell_p50", "placement": "near", "ratio": 0.04}
    few, worse = {**row, "runs": 3}, {**row, "ratio": 0.06}
    assert table.said({**row, "merged": [row, few, worse]}) == "reached in 1 of 3 runs, 1 of them indicative"
    assert table.said({**row, "merged": [row, worse]}) == "reached in 1 of 2 runs"
    assert table.said({**row, "merged": [few, few]}) == "indicative"


def test_a_move_between_accelerators_has_a_target():
    row = {**VALUE, "bench": "move_accelerators_p50_us", "placement": "near", "unit": "us"}
    assert [table.verdict({**row, "value": value}) for value in (50, 51)] == ["reached", "not reached"]


def test_the_table_goes_where_its_marks_are(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{cli.BEGIN}\nan old one\n{cli.END}\nbehind\n")
    for _ in range(2):
        assert run(tmp_path, "--markdown", run_of(tmp_path, 1, 0.1, VALUE), "--into", page).returncode == 0
        text = page.read_text()
        assert text.startswith(f"before\n{cli.BEGIN}\n\n2026-01-02") and text.endswith(f"|\n\n{cli.END}\nbehind\n")
        assert text.count("port_kib") == 1 and "an old one" not in text
    page.write_text("no marks\n")
    done = run(tmp_path, "--markdown", run_of(tmp_path, 1, 0.1, VALUE), "--into", page)
    assert done.returncode == 2 and "expected the table" in done.stderr
    assert page.read_text() == "no marks\n"


def test_a_drawing_for_each_scenario(build):
    run(build, "one", "two")
    for scenario in ("one", "two"):
        text = (build / "bench" / f"{scenario}.svg").read_text()
        assert xml.dom.minidom.parseString(text).documentElement.tagName == "svg"
    assert "a &lt;plain&gt; load" in (build / "bench" / "one.svg").read_text()


def test_nothing_can_be_drawn_of_nothing():
    for value in (0, None):
        assert "<svg" in plots.svg("zero", [{**VALUE, "value": value}])


def test_a_name_is_there_once():
    assert len(names.REQUIRED) == len(names.TARGETS) == len(names.BY_BENCH)


@pytest.mark.parametrize("said", [b"\x01\0\0\0", ports.HEADER.pack(2, 1, 8) + b"half"])
def test_a_daemon_that_says_half_of_it_is_not_waited_for(tmp_path, monkeypatch, said):
    monkeypatch.setattr(ports, "SOCKET_SECONDS", 1)
    backend = ports.Backend(str(tmp_path / "backend"))
    try:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(str(tmp_path / "backend"))
            backend.serve(10)
            daemon.sendall(said)
            with pytest.raises(BenchError, match="half a message"):
                backend.serve(10)
    finally:
        backend.close()
