# SPDX-License-Identifier: BSD-3-Clause
"""A guest's disk on qemu-storage-daemon (vhost-user-blk), directly and with ringpassd in between: the same life, the
same checks. It needs what a network card does not: configuration space, requests in flight."""

import hashlib

import pytest
import transparent
from transparent import Line

from ringpass_stack import backend_qsd
from ringpass_stack.backend_qsd import QsdBackend
from ringpass_testvm import Disk, hotplug, kernel, prepare
from ringpass_testvm.supervise import wait_until

QUEUES = 2
MIB = 64
SECTOR_BYTES = 512
CONTENT_BYTES = 4 << 20
PAUSES = 5
RELOADS = 2
DIMM_MIB = 128  # a memory block of Linux
ROOT_PORT = "rp0"
LIMIT_SECONDS = 120
QUICK = (("current", "through"),)
# What the guest knows of the disk: from features and configuration space.
IDENTITY = """cd /sys/block/vda; cat device/features size queue/physical_block_size queue/discard_max_bytes \
    queue/write_zeroes_max_bytes queue/discard_granularity queue/max_segments; ls mq"""
# Each sector says its number. One write at a time, and on the disk when it has ended.
WRITER = """number=0
while [ ! -e /run/enough ]; do
    printf '%0512d' $number | dd of=/dev/vda bs=512 seek=$number oflag=direct 2>/dev/null || exit 1
    number=$((number + 1))
done
echo $number"""
READ = "dd if=/dev/vda bs=64k count={count} iflag=direct 2>/dev/null | sha256sum"


def arrangements():
    for qemu in ("distribution", "current"):
        for way in transparent.WAYS:
            if transparent.wants_all() or (qemu, way) in QUICK:
                yield pytest.param(qemu, way == "through", id=f"{qemu}-{way}")


class Writes:
    """Go on while something happens. A context manager."""

    def __init__(self, life):
        self._life = life
        self._job = None

    def __enter__(self):
        self._life.vm.run("rm -f /run/enough")
        self._job = self._life.vm.spawn(WRITER)
        self.wait_more()
        return self

    def _sector(self, number):
        with open(self._life.line.backend.image, "rb") as image:
            image.seek(number * SECTOR_BYTES)
            return image.read(SECTOR_BYTES)

    def wait_more(self):
        """Until what is written now has arrived."""
        writes = "awk '{ print $5 }' /sys/block/vda/stat"
        before = int(self._life.vm.run(writes).output)
        wait_until(lambda: int(self._life.vm.run(writes).output) > before + 1, LIMIT_SECONDS, "a write that has ended",
                   self._life.line.require_alive)

    def __exit__(self, kind, *_):
        if kind:
            return
        self.wait_more()
        self._life.vm.run(": >/run/enough")
        assert self._job.wait(LIMIT_SECONDS) == 0, "a write has failed"
        count = int(self._job.output())
        for number in range(count):
            assert int(self._sector(number)) == number, f"sector {number} of {count}"


class Life:
    """One guest on a Line, and what happens to it."""

    def __init__(self, line, vm):
        self.line = line
        self.vm = vm
        self.digest = None

    def start(self):
        self.vm.start()
        self.line.require_software(QUEUES)

    def identity(self):
        return self.vm.run(IDENTITY).output

    def size_bytes(self):
        return SECTOR_BYTES * int(self.vm.run("cat /sys/block/vda/size").output)

    def require_content(self):
        """What was written last, from the disk."""
        self.line.require_software(QUEUES)
        assert self.vm.run(READ.format(count=CONTENT_BYTES >> 16)).output.split()[0] == self.digest
        self.line.require_alive()
        self.vm.require_alive()

    def writes(self):
        """By both queues, past the guest's cache and with it."""
        self.vm.run(f"dd if=/dev/urandom of=/tmp/content bs=64k count={CONTENT_BYTES >> 16} 2>/dev/null")
        self.digest = self.vm.run("sha256sum /tmp/content").output.split()[0]
        for cpu, option in enumerate(("oflag=direct", "conv=fsync")):
            self.vm.run(f"taskset {1 << cpu:x} dd if=/tmp/content of=/dev/vda bs=64k {option} 2>/dev/null")
            with open(self.line.backend.image, "rb") as image:
                assert hashlib.sha256(image.read(CONTENT_BYTES)).hexdigest() == self.digest
            self.require_content()

    def reboots(self):
        self.vm.reboot()
        self.require_content()
        assert self.vm.boot_count == 2

    def reloads_the_driver(self):
        load = hotplug.LOAD.format(module="virtio_blk")
        self.vm.run(f"for i in $(seq {RELOADS}); do rmmod virtio_blk; {load}; done")
        self.require_content()

    def writes_its_configuration(self):
        for kind in ("write through", "write back"):
            self.vm.run(f"echo '{kind}' >/sys/block/vda/cache_type")
            assert self.vm.run("cat /sys/block/vda/cache_type").output.strip() == kind

    def loses_its_backend(self):
        with Writes(self) as writes:
            self.line.restart_backend()
            writes.wait_more()

    def loses_ringpassd(self):
        with Writes(self) as writes:
            self.line.restart_ringpassd()
            writes.wait_more()

    def is_paused(self, monitor):
        with Writes(self):
            for _ in range(PAUSES):
                monitor.execute("stop")
                monitor.execute("cont")

    def gets_and_loses_memory(self, monitor):
        with Writes(self):
            hotplug.add_dimm(monitor, "dimm0", DIMM_MIB)
            wait_until(lambda: "offline" in self.vm.run("cat /sys/devices/system/memory/memory*/state").output,
                       LIMIT_SECONDS, "the guest's new memory")
            hotplug.remove_dimm(monitor, "dimm0")

    def is_unplugged(self, monitor, disk):
        hotplug.remove_disk(monitor, 0)
        hotplug.add_disk(monitor, self.vm.machine, 0, disk)
        wait_until(lambda: "vda" in self.vm.run("ls /sys/block").output, LIMIT_SECONDS, "vda in the guest")

    def ends(self, monitor):
        monitor.execute("quit")
        assert self.vm.wait_end() == 0


def identity_without_us(supervisor, backend, machine_of):
    """Of a guest that has the backend to itself; started for that, and ended."""
    line = Line(supervisor, None, backend, False, QUEUES)
    line.start()
    life = Life(line, line.guest("before", machine_of(line)))
    life.start()
    identity = life.identity()
    life.vm.stop()
    backend.stop()
    return identity


@pytest.mark.parametrize("qemu, through", arrangements())
def test_life(supervisor, build, store, qemu_programs, qemu, through):
    if not backend_qsd.is_installed():
        pytest.skip("qemu-storage-daemon is not installed")
    if qemu == "current" and len(qemu_programs) == 1:
        pytest.skip("no current QEMU here: devtools/install-current-qemu could not install it")
    backend = QsdBackend(supervisor, MIB, QUEUES)

    def machine_of(line):
        return prepare.machine([], store, modules=(*kernel.DEFAULT_MODULES, "virtio_blk"), cpus=2,
                               program=qemu_programs[0 if qemu == "distribution" else 1], memory_slots=2,
                               disks=[Disk(line.end(), QUEUES, ROOT_PORT)], root_ports=[ROOT_PORT])
    compares = through and transparent.wants_all()
    expected = identity_without_us(supervisor, backend, machine_of) if compares else None
    line = Line(supervisor, build, backend, through, QUEUES, device="other")
    line.start()
    machine = machine_of(line)
    life = Life(line, line.guest("guest", machine))
    life.start()
    assert expected in (None, life.identity())
    assert life.size_bytes() == MIB << 20
    life.writes()
    life.reboots()
    life.reloads_the_driver()
    life.writes_its_configuration()
    life.loses_its_backend()
    if through:
        life.loses_ringpassd()
    with life.vm.qmp() as monitor:
        life.is_paused(monitor)
        life.gets_and_loses_memory(monitor)
        life.writes()
        life.is_unplugged(monitor, machine.disks[0])
        life.require_content()
        life.ends(monitor)
    life.start()
    life.require_content()
    life.loses_its_backend()
