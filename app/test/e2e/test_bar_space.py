# SPDX-License-Identifier: BSD-3-Clause
"""Room behind a root port for a device that is plugged while the guest runs.

With page-per-vq=on the device's BAR 4 is 8 MiB, without it 16 KiB, for any number of queues. The firmware keeps
2 MiB free behind an empty root port, if nothing else is said.
"""


import pytest

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm import hotplug
from ringpass_testvm.supervise import wait_until

MIB = 1 << 20
BAR_MIB = 8
PLUG_SECONDS = 60
# What is reserved, or None: nothing is said.
RESERVES = {"rp0": None, "rp1": "pref64-reserve=4M", "rp2": "pref64-reserve=8M", "rp3": "mem-reserve=16M",
            "rp4": "pref64-reserve=16M"}
FIRMWARE_DEFAULT_MIB = 2
# Slot n is device n of the root bus. A bridge's last resource is its prefetchable window.
WINDOW = "cat /sys/bus/pci/devices/0000:00:{device:02x}.0/resource"
BAR = "cat /sys/bus/pci/devices/0000:{bus:02x}:00.0/resource"
NOT_PLACED = "dmesg | grep -c 'BAR 4.*failed to assign'; :"


@pytest.fixture
def stack(make_stack, qemu_program):
    ports = [",".join(filter(None, (name, reserve))) for name, reserve in RESERVES.items()]
    one = make_stack(uplink=True, machine_options={"program": qemu_program, "root_ports": ports})
    one.nic, = one.guests[0].vm.machine.nics
    one.guests[0].vm.machine.nics = []
    one.start_host()
    one.guests[0].vm.start()
    return one


def resources(vm, script):
    """@return [(start, size)] of the resources, (0, 0) for those that are not there."""
    lines = vm.run(script).output.splitlines()
    spans = [tuple(int(word, 16) for word in line.split()[:2]) for line in lines]
    return [(start, end - start + 1) if end else (0, 0) for start, end in spans]


def window(vm, name):
    """@return start and size of the prefetchable window of a root port."""
    found = resources(vm, WINDOW.format(device=1 + list(RESERVES).index(name)))
    return [span for span in found[7:] if span[1]][-1]


def fits(start, size):
    """A BAR lies at a multiple of its size, and the firmware puts the window anywhere."""
    need = BAR_MIB * MIB
    return -(-start // need) * need + need <= start + size


def plug(stack, monitor, name, page_per_vq=True):
    """@return whether eth0 came up in the guest; else its BAR found no place."""
    vm = stack.guests[0].vm
    before = int(vm.run(NOT_PLACED).output)
    stack.nic.bus, stack.nic.page_per_vq = name, page_per_vq
    hotplug.add_nic(monitor, vm.machine, 0, stack.nic)

    def outcome():
        if "eth0" in vm.run("ls /sys/class/net").output:
            return "works"
        return "fails" if int(vm.run(NOT_PLACED).output) > before else ""
    return wait_until(outcome, PLUG_SECONDS, f"{name}: an outcome of the hotplug") == "works"


def require_traffic(stack, mode):
    guest = stack.guests[0]
    guest.set_address()
    guest.wait_modes(mode)
    require_all(ping(guest.vm, UPLINK_ADDRESS, 5), "pings")


def test_plugged_behind_a_root_port(stack):
    vm = stack.guests[0].vm
    expected = {"rp0": False, "rp1": False, "rp2": fits(*window(vm, "rp2")), "rp3": True, "rp4": True}
    assert window(vm, "rp0")[1] == FIRMWARE_DEFAULT_MIB * MIB
    found = {}
    with vm.qmp() as monitor:
        for name in RESERVES:
            found[name] = plug(stack, monitor, name)
            if found[name]:
                bus = 1 + list(RESERVES).index(name)
                assert resources(vm, BAR.format(bus=bus))[4][1] == BAR_MIB * MIB
                require_traffic(stack, "direct")
            hotplug.remove_nic(monitor, 0)
        assert found == expected
        # Without pages per queue, any root port will do; and kicks are relayed.
        assert plug(stack, monitor, "rp0", page_per_vq=False)
        require_traffic(stack, "relayed")
    stack.require_alive()
