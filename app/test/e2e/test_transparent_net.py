# SPDX-License-Identifier: BSD-3-Clause
"""A guest's network card on a librte_vhost backend, directly and with ringpassd in between: the same life, the same
checks. Nothing is accelerated."""

import pytest
import transparent
from transparent import Line, wait_answer

from ringpass_stack import backend_ovs, testpmd, transfer
from ringpass_stack.backend_ovs import OvsBackend
from ringpass_stack.backend_testpmd import TestpmdBackend
from ringpass_stack.ping import PingStream, ping
from ringpass_stack.scenario import require_all
from ringpass_testvm import Nic, hotplug, prepare
from ringpass_testvm.supervise import wait_until

ADDRESS, GUEST_ADDRESS, PREFIX_LENGTH = "10.77.0.1", "10.77.0.2", 24
MAC = "52:54:00:00:00:01"
PINGS = 10
PAIRS = 2
PAUSES = 5
RELOADS = 2
TRANSFER_BYTES = 4 << 20
DIMM_MIB = 128  # a memory block of Linux
BUFFER_PAGES = 100  # what the receive rings of two pairs take at least
ROOT_PORT = "rp0"
MQ_BIT = 22
LIMIT_SECONDS = 120
INSTALLED = {"testpmd": testpmd.is_installed, "ovs": backend_ovs.is_installed}
# Of all: each backend once, each QEMU once.
QUICK = (("testpmd", "distribution", "through"), ("ovs", "current", "through"))


def make_backend(name, supervisor):
    if not INSTALLED[name]():
        pytest.skip(f"{name} is not installed")
    if name == "ovs":
        return OvsBackend(supervisor, 1, PAIRS)
    return TestpmdBackend(supervisor, 1, PAIRS)


def arrangements():
    for backend in INSTALLED:
        for qemu in ("distribution", "current"):
            for way in transparent.WAYS:
                if transparent.wants_all() or (backend, qemu, way) in QUICK:
                    yield pytest.param(backend, qemu, way == "through", id=f"{backend}-{qemu}-{way}")


class Life:
    """One guest on a Line, and what happens to it. After each: traffic flows, and everybody lives."""

    def __init__(self, line, vm):
        self.line = line
        self.vm = vm

    def set_address(self):
        self.vm.set_address(0, f"{GUEST_ADDRESS}/{PREFIX_LENGTH}")

    def require_traffic(self, rings=2 * PAIRS):
        self.line.require_software(rings)
        wait_answer(self.vm, ADDRESS)
        require_all(ping(self.vm, ADDRESS, PINGS, 0.05), "pings")
        self.line.require_alive()
        self.vm.require_alive()

    def require_bulk(self):
        transfer.from_guest(self.vm, ADDRESS, transfer.to_guest(self.vm, ADDRESS, TRANSFER_BYTES))

    def start(self):
        self.vm.start()
        self.set_address()
        self.require_traffic()

    def features(self):
        return self.vm.run("cat /sys/class/net/eth0/device/features").output.strip()

    def reboots(self):
        self.vm.reboot()
        self.set_address()
        self.require_traffic()
        assert self.vm.boot_count == 2

    def reloads_the_driver(self):
        load = hotplug.LOAD.format(module="virtio_net")
        self.vm.run(f"for i in $(seq {RELOADS}); do rmmod virtio_net; {load}; done")
        self.set_address()
        self.require_traffic()

    def changes_the_number_of_queues(self):
        assert self.features()[MQ_BIT] == "1"
        self.vm.run("ethtool -L eth0 combined 1")
        self.require_traffic(2)
        self.vm.run(f"ethtool -L eth0 combined {PAIRS}")
        self.require_traffic()
        for pair in range(PAIRS):  # CPU n sends on pair n
            self.vm.run(f"taskset {1 << pair:x} ping -c {PINGS} -i 0.02 -W 20 {ADDRESS}")

    def is_paused(self, monitor):
        """What comes for a paused guest is dropped by these backends."""
        for _ in range(PAUSES):
            monitor.execute("stop")
            monitor.execute("cont")
        self.require_traffic()

    def memory_blocks(self):
        return int(self.vm.run("ls -d /sys/devices/system/memory/memory* | wc -l").output)

    def gets_and_loses_memory(self, monitor):
        stream = PingStream(self.vm, ADDRESS)
        blocks = self.memory_blocks()
        for number in range(2):
            hotplug.add_dimm(monitor, f"dimm{number}", DIMM_MIB)
            wait_until(lambda: self.memory_blocks() == blocks + number + 1, LIMIT_SECONDS, "the guest's new memory")
        # what has not been used yet can be taken away
        hotplug.remove_dimm(monitor, "dimm1")
        require_all(stream.finish(), "pings while memory was plugged")
        free = hotplug.use_memory(self.vm)
        self.set_address()
        self.require_traffic()
        assert free - hotplug.free_pages(self.vm) >= BUFFER_PAGES
        self.require_bulk()

    def is_unplugged(self, monitor, nic):
        hotplug.remove_nic(monitor, 0)
        hotplug.add_nic(monitor, self.vm.machine, 0, nic)
        wait_until(lambda: "eth0" in self.vm.run("ls /sys/class/net").output, LIMIT_SECONDS, "eth0 in the guest")
        self.set_address()
        self.require_traffic()

    def loses_its_backend(self):
        self.line.restart_backend()
        self.require_traffic()
        self.require_bulk()

    def loses_ringpassd(self):
        self.line.restart_ringpassd()
        self.require_traffic()
        self.require_bulk()

    def ends(self, monitor):
        monitor.execute("quit")
        assert self.vm.wait_end() == 0


def features_without_us(supervisor, backend, machine_of):
    """Of a guest that has the backend to itself; started for that, and ended."""
    line = Line(supervisor, None, backend, False, PAIRS)
    line.start([f"{ADDRESS}/{PREFIX_LENGTH}"])
    life = Life(line, line.guest("before", machine_of(line)))
    life.start()
    features = life.features()
    life.vm.stop()
    backend.stop()
    return features


@pytest.mark.parametrize("name, qemu, through", arrangements())
def test_life(supervisor, build, store, qemu_programs, name, qemu, through):
    if qemu == "current" and len(qemu_programs) == 1:
        pytest.skip("no current QEMU here: devtools/install-current-qemu could not install it")
    backend = make_backend(name, supervisor)

    def machine_of(line):
        return prepare.machine([Nic(line.end(), MAC, PAIRS, bus=ROOT_PORT)], store, programs=["ethtool"],
                               program=qemu_programs[0 if qemu == "distribution" else 1], memory_slots=2,
                               root_ports=[ROOT_PORT], cpus=PAIRS)
    compares = through and transparent.wants_all()  # else test_transparent_offer.py has to do
    expected = features_without_us(supervisor, backend, machine_of) if compares else None
    line = Line(supervisor, build, backend, through, PAIRS)
    line.start([f"{ADDRESS}/{PREFIX_LENGTH}"])
    machine = machine_of(line)
    life = Life(line, line.guest("guest", machine))
    life.start()
    assert expected in (None, life.features())
    life.require_bulk()
    life.reboots()
    life.reloads_the_driver()
    life.changes_the_number_of_queues()
    life.loses_its_backend()
    if through:
        life.loses_ringpassd()
    with life.vm.qmp() as monitor:
        life.is_paused(monitor)
        life.gets_and_loses_memory(monitor)
        life.is_unplugged(monitor, machine.nics[0])
        life.ends(monitor)
    life.start()
    life.loses_its_backend()
