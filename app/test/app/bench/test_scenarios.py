# SPDX-License-Identifier: BSD-3-Clause
"""A benchmark that nobody runs is soon one that does not: each scenario once. What it measures decides nothing."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[4]
BUILD = os.environ.get("RINGPASS_BUILD_DIR") or TOP / "build"
BENCH = os.path.join(BUILD, "app", "bench", "ringpass-bench")
TOOL = TOP / "usertools" / "ringpass-bench"
KEYS = {"bench", "value", "unit", "peer", "peer_value", "ratio", "runs", "spread", "placement", "hop_ns", "flags"}
PLACEMENTS = {"near", "far", "mixed", "one"}
LIMIT_SECONDS = 120
PAUSE_SECONDS = 0.02

sys.path.insert(0, str(TOP / "usertools"))
from ringpass_bench import names, scenarios  # noqa: E402


def known():
    return scenarios.known(BENCH)


def check_row(row):
    assert KEYS == row.keys()
    assert row["placement"] in PLACEMENTS and row["runs"] > 0 and row["spread"] >= 0 and row["hop_ns"] >= 0
    assert row["flags"].startswith("-O")
    assert row["value"] >= 0 and row["unit"]
    if row["peer"] is None:
        assert row["peer_value"] is None and row["ratio"] is None
    else:
        assert row["value"] > 0 and row["peer_value"] > 0
        assert row["ratio"] == pytest.approx(row["value"] / row["peer_value"], rel=0.02, abs=0.0001)


@pytest.mark.parametrize("scenario", [one for one in known() if not one.module], ids=lambda one: one.name)
def test_every_row_is_there(scenario):
    done = subprocess.run([BENCH, "--once", scenario.name], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {"date", "cpu", "kernel", "compiler", "flags", "load", "guest_cpu", "device_cpu"} <= lines[0]["facts"].keys()
    for row in lines[1:]:
        check_row(row)
        # An interval around a hundred is some tenths wide.
        assert row["unit"] != "%" or isinstance(row["value"], float)
    assert {row["bench"] for row in lines[1:]} == set(scenario.benches)


def test_every_name_that_comparisons_rely_on_is_in_a_quick_run():
    there = {bench for one in known() if one.quick_s for bench in one.benches}
    assert names.REQUIRED <= there


def test_a_row_belongs_to_one_scenario():
    benches = [bench for one in known() for bench in one.benches]
    assert len(benches) == len(set(benches))


def test_all_together_fit():
    assert sum(one.quick_s for one in known()) <= scenarios.QUICK_SECONDS
    assert sum(one.whole_s for one in known()) <= scenarios.WHOLE_SECONDS


def test_a_name_that_there_is_not():
    done = subprocess.run([BENCH, "slow"], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 2
    assert "doc/guides/bench.md" in done.stderr


def test_ports_through_the_driver(tmp_path):
    done = subprocess.run([TOOL, "--build-dir", BUILD, "--once", "--output", tmp_path, "ports"], capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {row["bench"] for row in rows} == {"daemon_rss_mib", "port_kib"}
    for row in rows:
        assert KEYS | {"scenario"} == row.keys()
        assert (row["scenario"], row["placement"], row["peer"]) == ("ports", "host", None)
        assert row["value"] > 0


def marked(mark):
    """@return ids of all processes that were started with it, or that such a one has started."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if f"RINGPASS_RUN={mark}".encode() in pathlib.Path("/proc", pid, "environ").read_bytes().split(b"\0"):
                found.append(int(pid))
    return found


def directories_of(pids):
    """@return those of this benchmark in which the processes have sockets."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            inodes |= {os.readlink(entry) for entry in pathlib.Path("/proc", str(pid), "fd").iterdir()}
    found = set()
    for line in pathlib.Path("/proc/net/unix").read_text().splitlines():
        words = line.split()
        match = re.match(r"(.*/ringpass-bench\.[^/]+)/", words[-1])
        if match and f"socket:[{words[6]}]" in inodes:
            found.add(match[1])
    return found


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["setup", "ports"])
def test_nothing_is_left_by_one_that_is_ended(tmp_path, name, signum):
    if name == "ports" and signum == signal.SIGKILL:
        pytest.skip("the directory is the driver's own, which has no say in this")
    mark = f"bench-{os.getpid()}-{name}-{signum}"
    with subprocess.Popen([TOOL, "--build-dir", BUILD, "--quick", "--output", tmp_path, name],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "RINGPASS_RUN": mark}) as driver:
        try:
            deadline = time.monotonic() + LIMIT_SECONDS
            while not (there := directories_of(marked(mark))):
                assert driver.poll() is None and time.monotonic() < deadline, "ended before it was measuring"
                time.sleep(PAUSE_SECONDS)
            driver.send_signal(signum)
            said = driver.communicate(timeout=LIMIT_SECONDS)[1]
        finally:
            driver.kill()
    assert driver.returncode == (-signum if signum == signal.SIGKILL else 128 + signum), said
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    assert not left
    assert not [path for path in there if os.path.exists(path)]
