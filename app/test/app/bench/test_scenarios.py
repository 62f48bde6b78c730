# SPDX-License-Identifier: BSD-3-Clause
"""A benchmark that nobody runs is soon one that does not: each name once, quickly. What it measures decides nothing."""
import json
import os
import pathlib
import subprocess

import pytest

BUILD = os.environ.get("RINGPASS_BUILD_DIR") or pathlib.Path(__file__).resolve().parents[4] / "build"
BENCH = os.path.join(BUILD, "app", "bench", "ringpass-bench")
KEYS = {"bench", "value", "unit", "peer", "peer_value", "ratio", "runs", "spread"}


@pytest.mark.parametrize("name, benches", [
    ("kick", {"kick_p50", "kick_p99"}),
    ("software_request", {"request_features", "request_enable", "request_restart"}),
    ("translate", {"translate_1", "translate_1_many", "map_unmap_1", "translate_1k", "translate_1k_many", "map_unmap_1k",
                   "translate_64k", "translate_64k_many", "map_unmap_64k", "map_bytes_64k", "map_mmaps_64k",
                   "translate_1m", "translate_1m_many", "map_unmap_1m", "map_bytes_1m", "map_mmaps_1m",
                   "translate_1m_anywhere", "translate_1m_anywhere_many", "map_unmap_1m_anywhere",
                   "map_bytes_1m_anywhere"}),
    ("vfio_user_access", {"region_read_asleep", "region_read_waiting", "region_read_spinning"}),
    ("vfio_user_map", {"dma_map", "dma_unmap", "dma_map_file", "dma_unmap_file"}),
])
def test_every_line_is_there(name, benches):
    done = subprocess.run([BENCH, "--quick", name], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert "cpu" in lines[0]["facts"]
    assert {line["bench"] for line in lines[1:]} == benches
    for line in lines[1:]:
        assert KEYS <= line.keys()
        assert line["value"] > 0 and line["peer_value"] > 0 and line["runs"] > 0


def test_a_name_that_there_is_not():
    done = subprocess.run([BENCH, "slow"], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 2
    assert "doc/guides/bench.md" in done.stderr
