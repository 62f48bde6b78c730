# SPDX-License-Identifier: BSD-3-Clause
"""Devices and memory that come and go while a guest runs, by QMP."""


def add_nic(qmp, machine, index, nic):
    """Plug eth<index>, a Nic on a VhostUser socket that somebody listens on, into the root port nic.bus."""
    address = {"type": "unix", "data": {"path": nic.net.path}}
    qmp.execute("chardev-add", id=f"c{index}", backend={"type": "socket", "data": {"addr": address, "server": False}})
    qmp.execute("netdev_add", type="vhost-user", id=f"n{index}", chardev=f"c{index}", queues=nic.queues)
    qmp.execute("device_add", **nic.device(index, machine.accel, machine.program))


def remove_nic(qmp, index):
    """Have the guest let go of it first. Its chardev goes with the netdev."""
    remove_device(qmp, index)
    qmp.execute("netdev_del", id=f"n{index}")


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
