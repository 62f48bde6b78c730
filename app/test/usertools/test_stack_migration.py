# SPDX-License-Identifier: BSD-3-Clause
"""How two memories are compared, and what the demo says of pings that are lost while queues move: without a VM."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_stack.demo import DemoFigures  # noqa: E402
from ringpass_stack.migration import different_pages  # noqa: E402
from ringpass_stack.ping import Report  # noqa: E402
from ringpass_testvm.errors import TestvmError  # noqa: E402

PAGE = os.sysconf("SC_PAGESIZE")
PAGES = 600  # more than are compared at once


@contextlib.contextmanager
def holder(pages=PAGES, name="memory-backend-memfd", changed=()):
    """A process that holds a guest's memory. @return its pid."""
    fd = os.memfd_create(name)
    try:
        os.truncate(fd, pages * PAGE)
        for page in changed:
            os.pwrite(fd, b"x", (page + 1) * PAGE - 1)
        process = subprocess.Popen(["sleep", "60"], pass_fds=[fd])
    finally:
        os.close(fd)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_the_same_memory():
    with holder() as a, holder() as b:
        assert different_pages(a, b) == []


def test_every_page_that_differs_is_named():
    with holder(changed=[0, 255, 256]) as a, holder(changed=[256, PAGES - 1]) as b:
        assert different_pages(a, b) == [0, 255 * PAGE, (PAGES - 1) * PAGE]


def test_memories_of_two_sizes():
    with holder() as a, holder(PAGES + 1) as b, pytest.raises(TestvmError, match="memories of"):
        different_pages(a, b)


def test_no_memory():
    with holder() as a, holder(name="another") as b, pytest.raises(TestvmError, match="no memfd"):
        different_pages(a, b)


def test_pings_lost_in_moves_fail_the_demo():
    figures = DemoFigures()
    figures.queues = [{"queue": 0, "relayed_kicks": 0, "relayed_kicks_after_map": 0, "relayed_interrupts": 0,
                       "direct_kicks": 1, "device_interrupts": 1}]
    figures.add_moves(4, Report(sent=10, received=10, sent_in_windows=5, lost_in_windows=0))
    assert figures.problems() == []
    assert json.loads(figures.json("ok"))["pings_lost_in_moves"] == 0
    figures.add_moves(2, Report(sent=10, received=10, sent_in_windows=5, lost_in_windows=1))
    assert figures.problems() == ["1 pings lost while queues moved"]
    line = json.loads(figures.json("failed"))
    assert (line["moves"], line["pings_in_moves"], line["pings_lost_in_moves"]) == (6, 10, 1)
    assert (line["pings_sent"], line["pings_received"]) == (20, 20)
