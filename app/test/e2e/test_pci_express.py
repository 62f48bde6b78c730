# SPDX-License-Identifier: BSD-3-Clause
"""What a guest makes of a function in a root port: a PCI Express device, which it can reset by itself."""

import pytest

from ringpass_stack.passthrough import Passthrough
from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all

PINGS = 5
EXPRESS_CONFIG_BYTES = 4096


@pytest.fixture
def rig(supervisor, build, store, current_qemu):
    one = Passthrough(supervisor, build, store, [{}], memory="shared", program=current_qemu)
    one.start_softaccel()
    one.vm.start()
    return one


def require_pings(rig, card):
    card.use()
    require_all(ping(rig.vm, UPLINK_ADDRESS, PINGS), "pings")
    rig.require_alive()


def count_resets(rig):
    """Of a device that a driver uses."""
    return rig.softaccel.process.log().count(": reset\n")


def test_a_guest_resets_its_device(rig):
    card = rig.cards[0]
    require_pings(rig, card)
    device = rig.vm.run(f"readlink -f /sys/class/net/{card.name}/device/..").output.strip()
    assert rig.vm.run(f"stat -c %s {device}/config").output.strip() == str(EXPRESS_CONFIG_BYTES)
    assert rig.vm.run(f"cat {device}/current_link_width").output.strip() == "1"
    assert "flr" in rig.vm.run(f"cat {device}/reset_method").output.split()
    address = device.rpartition("/")[2]
    rig.vm.run(f"echo flr > {device}/reset_method")
    # Under the driver's feet: written by the guest's kernel into the function's own capability.
    resets = count_resets(rig)
    rig.vm.run(f"echo 1 > {device}/reset")
    assert count_resets(rig) == resets + 1
    rig.vm.run(f"echo {address} > {device}/driver/unbind")
    rig.vm.run(f"echo {address} > /sys/bus/pci/drivers/virtio-pci/bind")
    require_pings(rig, card)
