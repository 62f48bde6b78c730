# SPDX-License-Identifier: BSD-3-Clause
"""Queues move between softaccel and a real switch while numbered frames flow both ways, and the books balance.

Nothing is lost, doubled or reordered. The only frames that are missing are those that reached a switch port while no
receive ring was its own, and the switches have counted as many (storm.py has the arrangement).

RINGPASS_STORM_MOVES: how many moves each run makes, instead of the few hundred that are enough for every day.
"""

import os

import pytest

from ringpass_stack import backend_ovs, testpmd
from storm import Options, Rig

MOVES = int(os.environ.get("RINGPASS_STORM_MOVES") or 150)
# A drain that is long beside what the kernel may do to the threads of a switch on a busy machine.
LONG_DRAIN_MS = 100
ORDER_MOVES = 40

needs_testpmd = pytest.mark.skipif(not testpmd.is_installed(), reason="dpdk-testpmd is not there (package dpdk-dev)")
needs_ovs = pytest.mark.skipif(not backend_ovs.is_installed(),
                               reason="ovs-vswitchd-dpdk is not there (package openvswitch-switch-dpdk)")


@pytest.fixture
def storm(supervisor, build):
    """A function that runs one with the options of Options, and returns its Books."""
    rigs = []

    def run(**options):
        rigs.append(Rig(supervisor, build, Options(**options)))
        rigs[-1].start()
        books = rigs[-1].run()
        print(books.line())
        return books
    yield run
    for rig in rigs:
        rig.stop()


def check(books, moves):
    assert books.faults() == []
    assert books.storm["moves_done"] == moves
    assert books.total("by_hardware", ["ask"]) > 0
    assert books.total("by_software", ["ask"]) > 0
    assert all(queue["to_hardware"] and queue["to_software"] for queue in books.storm["queues"])


formats = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])


@needs_testpmd
@formats
@pytest.mark.parametrize("pairs", [1, 2])
@pytest.mark.parametrize("shadow", [False, True], ids=["direct", "shadow"])
def test_testpmd(storm, packed, pairs, shadow):
    """With stops, reboots, memory that comes and goes, migrations that begin and end, all at random."""
    books = storm(moves=MOVES, pairs=pairs, packed=packed, shadow=shadow)
    check(books, MOVES)
    assert all(books.storm[what] for what in ("stops", "disables", "reboots", "hotplugs", "logs", "log_pages"))
    if not shadow:
        assert sum(queue["redone"] for queue in books.storm["queues"]) == 0


@needs_testpmd
@formats
def test_nothing_but_moves(storm, packed):
    """A ring's interrupts are lost for good here, and so are its kicks: nobody else comes to wake it."""
    check(storm(moves=MOVES, pairs=2, packed=packed, calm=True), MOVES)


@needs_ovs
@formats
@pytest.mark.parametrize("shadow", [False, True], ids=["direct", "shadow"])
def test_open_vswitch(storm, packed, shadow):
    check(storm(moves=MOVES, packed=packed, shadow=shadow, ovs=True), MOVES)


@needs_testpmd
@formats
def test_an_operator_joins_in(storm, packed):
    """Doorbells are relayed and handed out again, rings become private and are given back, queues are disabled."""
    check(storm(moves=MOVES, pairs=2, packed=packed, policies=True), MOVES)


@needs_testpmd
def test_class_b(storm):
    """What was available and not used is done again, and counted; a ring in mid-life is served through a private one."""
    books = storm(moves=MOVES, pairs=2, class_b=True)
    check(books, MOVES)
    assert sum(queue["redone"] for queue in books.storm["queues"]) > 0


@needs_testpmd
def test_class_b_packed(storm):
    """Moves only where its rings were private from their start."""
    check(storm(moves=MOVES, class_b=True, packed=True, shadow=True), MOVES)


@needs_testpmd
def test_answers_are_not_lost_in_the_right_order(storm):
    """The peer answers by the plane through which it was asked. A pair's transmit ring goes first, so that no question
    is asked any more when its receive ring goes."""
    books = storm(moves=ORDER_MOVES, calm=True, pairs_only=True, drain_ms=LONG_DRAIN_MS)
    check(books, ORDER_MOVES)
    assert not loses_answers(books)


@needs_testpmd
def test_the_wrong_order_loses_answers(storm):
    """The same moves, receive ring first: what the test before looks at fails."""
    books = storm(moves=ORDER_MOVES, calm=True, pairs_only=True, drain_ms=LONG_DRAIN_MS,
                  program="ringpass-storm-wrong-order")
    check(books, ORDER_MOVES)
    assert loses_answers(books)


def loses_answers(books):
    """In one move of three or more. (A switch that is not given a processor for all of the drain loses some in a move
    now and then, whatever the order.)"""
    return books.total("gaps", ["answer"]) * 3 > books.storm["queues"][0]["to_hardware"] + \
        books.storm["queues"][0]["to_software"]


@needs_testpmd
@formats
def test_without_ringpass(storm, packed):
    """The measure itself: the guest is the switch's own frontend, and the same is done to it."""
    books = storm(moves=MOVES, packed=packed, direct=True, hardware=False)
    assert books.faults() == []
    assert books.total("received") > 0
