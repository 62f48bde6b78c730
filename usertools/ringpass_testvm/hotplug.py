# SPDX-License-Identifier: BSD-3-Clause
"""Devices and memory that come and go while a guest runs, by QMP."""

from .qemu import major_version

LOAD = "insmod /modules/*-{module}.ko"
ONLINE = """
for block in /sys/devices/system/memory/memory*; do
    grep -q offline $block/state && echo online_kernel >$block/state
done
:
"""
# Memory below 4 GiB is in another zone; Linux takes from this one first.
FREE_ABOVE_4G = "awk '/zone +Normal/ { normal = 1 } normal && /pages free/ { print $3; exit }' /proc/zoneinfo"


def _add_chardev(qmp, machine, name, backend):
    """backend: a VhostUser."""
    data = {"addr": {"type": "unix", "data": {"path": backend.path}}, "server": backend.server}
    if backend.server:
        data["wait"] = False
    if backend.reconnect:
        # Renamed in 9.2; the old name left in 10.0.
        if major_version(machine.program) >= 10:
            data["reconnect-ms"] = backend.reconnect * 1000
        else:
            data["reconnect"] = backend.reconnect
    qmp.execute("chardev-add", id=name, backend={"type": "socket", "data": data})


def add_nic(qmp, machine, index, nic):
    """Plug eth<index>, a Nic on a VhostUser socket, into the root port nic.bus."""
    _add_chardev(qmp, machine, f"c{index}", nic.net)
    qmp.execute("netdev_add", type="vhost-user", id=f"n{index}", chardev=f"c{index}", queues=nic.queues)
    qmp.execute("device_add", **nic.device(index, machine.accel, machine.program))


def remove_nic(qmp, index):
    """Have the guest let go of it first. Its chardev goes with the netdev."""
    remove_device(qmp, index)
    qmp.execute("netdev_del", id=f"n{index}")


def add_disk(qmp, machine, index, disk):
    """Plug vd<letter index>, a Disk, into its root port."""
    _add_chardev(qmp, machine, f"d{index}", disk.backend)
    qmp.execute("device_add", **disk.device(index, machine.accel, machine.program))


def remove_disk(qmp, index):
    """Have the guest let go of it first."""
    qmp.execute("device_del", id=f"disk{index}")
    qmp.wait_event("DEVICE_DELETED", device=f"disk{index}")
    qmp.execute("chardev-remove", id=f"d{index}")


def add_device(qmp, machine, index, device):
    """Plug eth<index>, a VfioUser, into its root port."""
    qmp.execute("device_add", **device.device(index, machine.accel, machine.program))


def remove_device(qmp, index):
    """Have the guest let go of it first."""
    qmp.execute("device_del", id=f"nic{index}")
    qmp.wait_event("DEVICE_DELETED", device=f"nic{index}")


def add_dimm(qmp, name, mib):
    """Shared memory: a vhost-user backend maps it. The guest finds it, but need not use it yet."""
    qmp.execute("object-add", **{"qom-type": "memory-backend-memfd", "id": f"{name}-memory", "size": mib << 20,
                                 "share": True})
    qmp.execute("device_add", driver="pc-dimm", id=name, memdev=f"{name}-memory")


def remove_dimm(qmp, name):
    """The guest must not be using it."""
    qmp.execute("device_del", id=name)
    qmp.wait_event("DEVICE_DELETED", device=name)
    qmp.execute("object-del", id=f"{name}-memory")


def free_pages(vm):
    """Of memory above 4 GiB, where what is plugged is."""
    return int(vm.run(FREE_ABOVE_4G).output)


def use_memory(vm):
    """Have the guest's network driver, which is loaded anew, take from what was plugged. @return free_pages() before:
    it takes them when its interface is set up."""
    vm.run(f"rmmod virtio_net; {ONLINE}")
    free = free_pages(vm)
    vm.run(LOAD.format(module="virtio_net"))
    return free
