# SPDX-License-Identifier: BSD-3-Clause
"""The QEMU command line: one place that knows which options are wanted and which are traps."""

import dataclasses
import functools
import json
import os
import re
import typing

from . import supervise


def _found_from_anywhere(program):
    """A guest runs in a directory of its own."""
    return os.path.abspath(program) if os.sep in program else program


# Another QEMU than the distribution's.
PROGRAM = _found_from_anywhere(os.environ.get("RINGPASS_QEMU", "qemu-system-x86_64"))
# Room for DIMMs that are plugged later.
MEMORY_ROOM_MIB = 4096
# No self-tests of ciphers, and no calibration of timers against an emulated clock: half a second each.
KERNEL_ARGUMENTS = ("console=ttyS0 panic=-1 loglevel=6 cryptomgr.notests no_timer_check tsc=reliable "
                    "mitigations=off random.trust_cpu=on")


@functools.lru_cache(maxsize=None)
def version(program=PROGRAM):
    return supervise.run([program, "--version"], 30).splitlines()[0]


@functools.lru_cache(maxsize=None)
def major_version(program=PROGRAM):
    return int(re.search(r"version (\d+)", version(program)).group(1))


@dataclasses.dataclass
class UserNet:
    """QEMU's own network: the guest reaches the host as 10.0.2.2."""

    def arguments(self, index, _queues, _program):
        return ["-netdev", f"user,id=n{index}"]


@dataclasses.dataclass
class VhostUser:
    """A vhost-user backend behind a socket."""

    path: str
    server: bool = False  # QEMU listens, and waits for the backend before it starts the guest
    reconnect: int = 0  # QEMU connects again after so many seconds; 0: never

    def chardev(self, name, program):
        chardev = f"socket,id={name},path={self.path}"
        if self.server:
            chardev += ",server=on,wait=off"
        if self.reconnect:
            # Renamed in 9.2; the old name left in 10.0.
            chardev += (f",reconnect-ms={self.reconnect * 1000}" if major_version(program) >= 10
                        else f",reconnect={self.reconnect}")
        return ["-chardev", chardev]

    def arguments(self, index, queues, program):
        return [*self.chardev(f"c{index}", program), "-netdev", f"vhost-user,id=n{index},chardev=c{index},queues={queues}"]


def _has_vectors(accel, program):
    """QEMU 7.2 under TCG crashes when a driver starts a vhost-user device with MSI-X."""
    return accel != "tcg" or major_version(program) >= 8


def _option(value):
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else str(value)


def _device(properties):
    """As -device takes what QMP's device_add would."""
    return ["-device", ",".join([properties["driver"], *(f"{name}={_option(value)}" for name, value in properties.items()
                                                         if name != "driver")])]


@dataclasses.dataclass
class Nic:
    """A virtio-net device. The nth one is eth<n> in the guest."""

    net: typing.Union[UserNet, VhostUser]
    mac: str = ""
    queues: int = 1
    page_per_vq: bool = True
    vectors: typing.Optional[int] = None  # None: as many as are safe
    packed: bool = False  # offer packed rings; the guest has them if its backend can serve them
    bus: str = ""  # a root port of the machine; empty: the root bus, where nothing can be unplugged
    behind_iommu: bool = False  # of a machine that has one: offer VIRTIO_F_ACCESS_PLATFORM and address translation (ATS)

    def device(self, index, accel, program):
        """The device's properties, as QMP's device_add takes them."""
        device = {"driver": "virtio-net-pci", "id": f"nic{index}", "netdev": f"n{index}", "romfile": "",
                  "disable-legacy": "on", "page-per-vq": self.page_per_vq}
        if self.mac:
            device["mac"] = self.mac
        if self.queues > 1:
            device["mq"] = True
        if self.packed:
            device["packed"] = True
        if self.bus:
            device["bus"] = self.bus
        if self.behind_iommu:
            device["iommu_platform"] = device["ats"] = True
        vectors = self._vectors(accel, program)
        if vectors is not None:
            device["vectors"] = vectors
        return device

    def arguments(self, index, accel, program=PROGRAM):
        return [*self.net.arguments(index, self.queues, program), *_device(self.device(index, accel, program))]

    def _vectors(self, accel, program):
        if self.vectors is not None:
            return self.vectors
        if isinstance(self.net, VhostUser) and not _has_vectors(accel, program):
            return 0
        return 2 * self.queues + 2


@dataclasses.dataclass
class Disk:
    """A virtio-blk device of a vhost-user backend. The nth one is vd<letter n> in the guest, with module virtio_blk."""

    backend: VhostUser
    queues: int = 1
    bus: str = ""  # as that of a Nic

    def device(self, index, accel, program):
        """The device's properties, as QMP's device_add takes them."""
        device = {"driver": "vhost-user-blk-pci", "id": f"disk{index}", "chardev": f"d{index}",
                  "num-queues": self.queues, "disable-legacy": "on", "page-per-vq": True}
        if self.bus:
            device["bus"] = self.bus
        if not _has_vectors(accel, program):
            device["vectors"] = 0
        return device

    def arguments(self, index, accel, program=PROGRAM):
        return [*self.backend.chardev(f"d{index}", program), *_device(self.device(index, accel, program))]


@dataclasses.dataclass
class VfioUser:
    """A whole PCI device behind a vfio-user socket, passed through: one of a machine's network cards. Needs QEMU 10.1,
    and 11.1 where the device cannot map the guest's memory."""

    path: str
    bus: str = ""  # as that of a Nic
    properties: dict = dataclasses.field(default_factory=dict)  # more of vfio-user-pci's

    def device(self, index, _accel="", _program=""):
        """The device's properties, as QMP's device_add takes them."""
        device = {"driver": "vfio-user-pci", "id": f"nic{index}", "socket": {"type": "unix", "path": self.path}}
        if self.bus:
            device["bus"] = self.bus
        return {**device, **self.properties}

    def arguments(self, index, accel="", program=""):
        return ["-device", json.dumps(self.device(index, accel, program))]


def accel_arguments(accel):
    return ["-accel", "kvm", "-cpu", "host"] if accel == "kvm" else ["-accel", "tcg,thread=multi", "-cpu", "max"]


def _shared(name, mib):
    return ["-object", f"memory-backend-memfd,id={name},size={mib}M,share=on"]


def _private(name, mib):
    # Not a memfd with share=off: QEMU 11.1 hands that out too, and what is behind it is not the guest's memory.
    return ["-object", f"memory-backend-ram,id={name},size={mib}M"]


def _one_node(backend, mib):
    return [*backend("mem", mib), "-machine", "memory-backend=mem"]


def _two_nodes(mib, cpus):
    """Half of the CPUs beside each half of the memory: a guest takes memory from beside the CPU that asks for it."""
    arguments, half = [], mib // 2
    for node, backend in enumerate((_shared, _private)):
        own = range(node * cpus // 2, (node + 1) * cpus // 2)
        arguments += [*backend(f"mem{node}", half), "-numa",
                      ",".join(["node", f"nodeid={node}", f"memdev=mem{node}", *(f"cpus={cpu}" for cpu in own)])]
    return arguments


# What a device process can map of the guest's memory: all, nothing, or the half that is CPU 0's.
MEMORY = {
    "shared": lambda mib, _cpus: _one_node(_shared, mib),
    "private": lambda mib, _cpus: _one_node(_private, mib),
    "half": _two_nodes,
}


@dataclasses.dataclass
class Machine:
    """All that makes a guest but its run directory."""

    kernel: str
    initramfs: str
    accel: str
    nics: typing.Sequence[typing.Union[Nic, VfioUser]] = ()
    disks: typing.Sequence[Disk] = ()
    memory_mib: int = 512
    memory: str = "shared"  # a key of MEMORY; a vhost-user backend must be able to map all
    cpus: int = 2
    model: str = "q35"
    extra: typing.Sequence[str] = ()
    iommu: str = ""  # as -device takes it, of a machine that has one: "intel-iommu,device-iotlb=on"
    root_ports: typing.Sequence[str] = ()  # ids of buses of one slot each; an id may be followed by ",OPTION=VALUE"
    memory_slots: int = 0  # so many DIMMs can be plugged
    program: str = PROGRAM
    kernel_arguments: str = ""  # more of them
    starts_again: bool = True  # after a reset; False: QEMU ends

    def command(self, console_log, agent_socket, qmp_socket):
        return self.command_on_lines(console_log, f"socket,path={agent_socket}",
                                     f"socket,path={qmp_socket},server=on,wait=off")

    def command_on_lines(self, console_log, agent, monitor):
        """agent, monitor: character devices as -chardev takes them, but for the id."""
        command = [
            self.program, "-nodefaults", "-no-user-config", "-display", "none",
            *accel_arguments(self.accel), "-smp", str(self.cpus), "-m", self._memory(),
            "-machine", self.model, *MEMORY[self.memory](self.memory_mib, self.cpus),
            "-kernel", self.kernel, "-initrd", self.initramfs, "-append", f"{KERNEL_ARGUMENTS} {self.kernel_arguments}".strip(),
            "-chardev", f"file,id=console,path={console_log}", "-serial", "chardev:console",
            "-chardev", f"{agent},id=agent", "-serial", "chardev:agent",
            "-chardev", f"{monitor},id=monitor", "-mon", "chardev=monitor,mode=control",
        ]
        # Before the devices that it is in front of.
        if self.iommu:
            command += ["-device", self.iommu]
        for slot, root_port in enumerate(self.root_ports, 1):
            command += ["-device", f"pcie-root-port,chassis={slot},slot={slot},id={root_port}"]
        for index, nic in enumerate(self.nics):
            command += nic.arguments(index, self.accel, self.program)
        for index, disk in enumerate(self.disks):
            command += disk.arguments(index, self.accel, self.program)
        if not self.starts_again:
            command += ["-no-reboot"]
        return [*command, *self.extra]

    def _memory(self):
        if not self.memory_slots:
            return str(self.memory_mib)
        return f"{self.memory_mib},slots={self.memory_slots},maxmem={self.memory_mib + MEMORY_ROOM_MIB}M"
