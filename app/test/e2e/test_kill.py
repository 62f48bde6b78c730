# SPDX-License-Identifier: BSD-3-Clause
"""Each process is killed in turn: the others live, a log line says what happened, a restart brings traffic back."""

import pytest

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all

PINGS = 20
LOG_SECONDS = 30


@pytest.fixture
def stack(make_stack):
    one = make_stack(uplink=True)
    one.start()
    require_traffic(one.guests[0])
    return one


def require_traffic(guest):
    require_all(ping(guest.vm, UPLINK_ADDRESS, PINGS), "pings")


def test_guest(stack):
    guest = stack.guests[0]
    guest.vm.kill()
    stack.ringpassd.process.wait_for_line("event=frontend-disconnected", LOG_SECONDS)
    shown = guest.wait_modes("stopped")
    assert shown["state"] == "listening"
    assert all(queue["reason"] for queue in shown["queues"])
    stack.start_guests()
    guest.wait_modes()
    require_traffic(guest)


@pytest.mark.parametrize("qemu_listens", [False, True], ids=["ringpassd-listens", "qemu-listens"])
def test_ringpassd(make_stack, qemu_listens):
    stack = make_stack(uplink=True, qemu_listens=qemu_listens)
    stack.start()
    guest = stack.guests[0]
    require_traffic(guest)
    stack.ringpassd.kill()
    stack.softaccel.process.require_alive()
    assert guest.vm.run("echo alive").output == "alive\n"
    stack.ringpassd.start()
    guest.wait_modes()
    require_traffic(guest)
    assert guest.vm.boot_count == 1


def test_softaccel(stack):
    guest = stack.guests[0]
    stack.softaccel.kill()
    stack.ringpassd.process.wait_for_line("event=accelerator-failed", LOG_SECONDS)
    shown = guest.wait_modes("stopped")
    assert all(queue["reason"] for queue in shown["queues"])
    assert shown["accelerators"][0]["open"] is False
    assert shown["accelerators"][0]["reason"]
    assert guest.vm.run("echo alive").output == "alive\n"
    stack.start_softaccel()
    stack.ringpassd.process.wait_for_line("event=accelerator-back", LOG_SECONDS)
    guest.wait_modes()
    require_traffic(guest)
    assert guest.vm.boot_count == 1


def test_sigterm(stack):
    """Asked to end, the programs end well and take their sockets with them."""
    stack.guests[0].vm.stop()
    assert stack.ringpassd.stop() == 0
    assert stack.softaccel.stop() == 0
    names = stack.supervisor.socket_names()
    assert names == []
