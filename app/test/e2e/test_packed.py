# SPDX-License-Identifier: BSD-3-Clause
"""Guests with packed rings (packed=on of virtio-net-pci): the main job, and what is different about them.

A packed ring's position is nowhere in memory. It travels in 32 bits between QEMU, ringpassd and softaccel; and
where it is lost the ring stands still, with the reason, instead of being guessed at.
"""

import json
import os
import subprocess
import sys

import pytest
from conftest import TOP

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm.supervise import wait_until

DEMO_SECONDS = 600
WAIT_SECONDS = 60
RING_PACKED_BIT = 34
PAUSES = 15
LOST = "where the packed ring stopped is not known: the guest's driver must start it anew"
REBIND = """
driver=/sys/bus/virtio/drivers/virtio_net
device=$(basename $(ls -d $driver/virtio*))
echo $device >$driver/unbind
echo $device >$driver/bind
"""


@pytest.fixture(params=["distribution", "current"])
def emulator(request, build):
    """What RINGPASS_QEMU is to be."""
    if request.param == "distribution":
        return "qemu-system-x86_64"
    program = os.path.join(build.directory, "qemu-current", "ringpass-qemu")
    if not os.path.exists(program):
        pytest.skip("no current QEMU here: devtools/install-current-qemu could not install it")
    return program


def test_demo(build, emulator):
    demo = subprocess.run([sys.executable, str(TOP / "usertools" / "ringpass-demo"), "--packed", "--build-dir",
                           build.directory],
                          env={**os.environ, "RINGPASS_QEMU": emulator}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEMO_SECONDS)
    print(demo.stdout)
    assert demo.returncode == 0
    assert demo.stdout.count("the guest's rings are packed") == 2
    result = json.loads(demo.stdout.strip().splitlines()[-1])
    assert result["demo"] == "ok"
    assert result["pings_sent"] == result["pings_received"] > 0
    assert result["bytes_checked"] >= 64 << 20
    assert result["direct_kicks"] > 0
    assert result["relayed_kicks_after_map"] == 0
    assert result["relayed_interrupts"] == 0
    assert result["queue_toggles"] > 0
    assert result["guest_reboots"] == 1


@pytest.fixture
def stack(make_stack):
    one = make_stack(uplink=True, packed=True)
    one.start()
    assert one.guests[0].has_feature(RING_PACKED_BIT)
    return one


def require_traffic(stack):
    stack.guests[0].wait_modes()
    require_all(ping(stack.guests[0].vm, UPLINK_ADDRESS, 10), "pings")
    stack.require_alive()


def test_vm_is_paused(stack):
    """QEMU keeps what GET_VRING_BASE answered, and gives it back."""
    require_traffic(stack)
    with stack.guests[0].vm.qmp() as monitor:
        for _ in range(PAUSES):
            monitor.execute("stop")
            monitor.execute("cont")
            require_all(ping(stack.guests[0].vm, UPLINK_ADDRESS, 2), "pings between pauses")
    require_traffic(stack)


def reasons(stack):
    return {queue["reason"] for queue in stack.guests[0].show()["queues"]}


def test_lost_position(stack):
    """The accelerator dies, and with it what it knew: the rings wait for the guest's driver, which gets them going."""
    guest = stack.guests[0]
    require_traffic(stack)
    stack.softaccel.kill()
    stack.start_softaccel()
    wait_until(lambda: reasons(stack) == {LOST}, WAIT_SECONDS, "rings that wait for the guest")
    guest.wait_modes("stopped")
    guest.vm.run(REBIND)
    guest.set_address()
    require_traffic(stack)


def test_position_is_not_guessed(stack):
    """ringpassd dies: QEMU connects again, and starts rings in mid-life as fresh ones, as it knows no better."""
    guest = stack.guests[0]
    require_traffic(stack)
    stack.ringpassd.kill()
    stack.ringpassd.start()
    wait_until(lambda: LOST in reasons(stack), WAIT_SECONDS, "rings that wait for the guest")
    guest.vm.run(REBIND)
    guest.set_address()
    require_traffic(stack)
