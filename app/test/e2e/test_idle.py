# SPDX-License-Identifier: BSD-3-Clause
"""Guests that rest cost nothing, and those that go on again have lost nothing: softaccel's idle_ms with real programs.

testpmd's virtio-user has no backend channel, so that its kicks come by eventfd in any case; that softaccel watches
none of its doorbells is seen where softaccel says so. Our own frontend has its doorbells taken back, and given again.
"""

import os
import pathlib
import time

import pytest
from frontend import Frontend

from ringpass_stack.programs import UPLINK_MAC, Control, Function, Port, Ringpassd, Softaccel
from ringpass_stack.scenario import PREFIX_LENGTH, UPLINK_ADDRESS
from ringpass_stack.testpmd import Testpmd, VirtioUser, is_installed
from ringpass_testvm import netns, supervise

MACS = ("52:54:00:00:79:00", "52:54:00:00:79:01")
PORTS = ("vm0", "vm1")
TX = 1
ADDRESS = "10.77.0.2"
IDLE_MS = 200
ROUNDS = 2
PACKETS = 5000
LIMIT_SECONDS = 60
REST_SECONDS = 0.4
# A loop that polls has all of them, and one that sleeps none but for what telemetry asks.
TICKS_PER_REST = os.sysconf("SC_CLK_TCK") * REST_SECONDS
TICKS_MAX = TICKS_PER_REST / 5
IDLE_REASON = "the queue is idle, and the device would rather be woken"


def ticks(process):
    """Of a processor, that all its threads have had."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Bed:
    """softaccel with a function for each port, and ringpassd."""

    def __init__(self, supervisor, build, names, uplink=None):
        path = supervisor.path
        functions = [Function(path(f"{name}.accel"), mac, 1, idle_ms=IDLE_MS) for name, mac in zip(names, MACS)]
        self.names = names
        self.sockets = [path(f"{name}.sock") for name in names]
        self.softaccel = Softaccel(supervisor, build, functions, uplink)
        self.ringpassd = Ringpassd(supervisor, build, [
            Port(name, socket, [f"vfio-user,socket={one.socket}"], queue_pairs=1, more={"doorbell_delay_ms": 5})
            for name, socket, one in zip(names, self.sockets, functions)])
        self.control = Control(build, self.ringpassd.rpc)

    def told(self):
        """Of each queue what softaccel says and what ringpassd does."""
        return [(here, there) for index, name in enumerate(self.names)
                for here, there in zip(self.softaccel.queues(index), self.control.show(name)["queues"])]

    def wait(self, condition, what):
        supervise.wait_until(condition, LIMIT_SECONDS, what, self.softaccel.process.require_alive)

    def wait_idle(self):
        self.wait(lambda: all((here["kicked_by"], here["watched"], there["doorbell"]) == ("eventfd", 0, "unmapped")
                              for here, there in self.told()), "nobody watches a doorbell")

    def sender_kicks(self):
        return [self.softaccel.queues(index)[TX]["eventfd_kicks"] for index in range(len(self.names))]

    def errors(self):
        return sum(here["errors"] + there["errors"] for here, there in self.told())

    def rests(self, wakes_max):
        """Once in several looks: who does something for itself does so in each of them."""
        process = self.softaccel.process

        def rested():
            sleeps, before = self.softaccel.sleeps(), ticks(process)
            time.sleep(REST_SECONDS)
            used, now = ticks(process) - before, self.softaccel.sleeps()
            return used <= TICKS_MAX and sum(now.values()) - sum(sleeps.values()) <= wakes_max
        self.wait(rested, f"softaccel sleeps, and uses {TICKS_MAX} of {TICKS_PER_REST} ticks at most")


@pytest.mark.skipif(not is_installed(), reason="dpdk-testpmd is not there (package dpdk-dev)")
@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_testpmd(supervisor, build, packed):
    bed = Bed(supervisor, build, PORTS)
    frontend = Testpmd(supervisor, [VirtioUser(socket, mac, peer, packed=packed)
                                    for socket, mac, peer in zip(bed.sockets, MACS, reversed(MACS))])
    for program in (bed.softaccel, bed.ringpassd, frontend):
        program.start()
    for _ in range(ROUNDS):
        bed.wait_idle()
        bed.rests(0)
        kicks = bed.sender_kicks()
        frontend.command("set fwd io")
        frontend.command("start tx_first 1")
        frontend.wait_carried(PACKETS, LIMIT_SECONDS)
        frontend.command("stop")
        assert [one.errors for one in frontend.drain(LIMIT_SECONDS)] == [{}, {}]
        # What it has sent into the rest woke the device.
        assert all(now > before for now, before in zip(bed.sender_kicks(), kicks))
        assert bed.errors() == 0
    assert set(bed.softaccel.nodes()) == {"buffers", "data_path", "doorbells_0", "doorbells_1"}
    assert frontend.quit() == 0


def test_doorbells(supervisor, build):
    """Pings to the kernel, which says something of its own on that wire now and then."""
    uplink = f"rp{os.getpid()}"
    bed = Bed(supervisor, build, PORTS[:1], uplink)
    frontend = Frontend(supervisor, build, bed.sockets[0], 1, MACS[0], ADDRESS, UPLINK_MAC, UPLINK_ADDRESS, packed=True)
    bed.softaccel.start()
    netns.set_address(uplink, f"{UPLINK_ADDRESS}/{PREFIX_LENGTH}", LIMIT_SECONDS)
    netns.ip("neighbour", "replace", ADDRESS, "lladdr", MACS[0], "dev", uplink, "nud", "permanent")
    bed.ringpassd.start()
    frontend.start()
    frontend.connect()
    frontend.do("direct")
    for _ in range(ROUNDS):
        bed.wait_idle()
        assert {queue["reason"] for queue in bed.control.show(PORTS[0])["queues"]} == {IDLE_REASON}
        bed.rests(10)
        frontend.do("traffic on")
        # A receiver kicks seldom, and not often enough for a doorbell.
        bed.wait(lambda: bed.control.show(PORTS[0])["queues"][TX]["mode"] == "direct", "the sender has its doorbell")
        frontend.wait_traffic()
        frontend.do("traffic off")
        bed.wait(lambda: frontend.counts()["out"] == 0, "every ping is answered")
        counts = frontend.counts()
        assert (counts["lost"], counts["late"], counts["twice"], counts["bad"]) == (0, 0, 0, 0)
    assert bed.control.show(PORTS[0])["queues"][TX]["doorbell_idles"] == ROUNDS
    assert bed.errors() == 0
