# SPDX-License-Identifier: BSD-3-Clause
"""What happens to a guest in its life, on the distribution's QEMU and on the current one, in one VM each.

Boot, reboot, driver unloaded and loaded, ethtool -L, stop and cont, memory plugged with memory slots and without,
the device unplugged and plugged again, quit. After each: QEMU lives, every queue is direct, traffic flows.
"""

import contextlib

import leaks

from ringpass_stack.ping import PingStream, ping
from ringpass_stack.scenario import PREFIX_LENGTH, UPLINK_ADDRESS, require_all
from ringpass_testvm import hotplug
from ringpass_testvm.supervise import wait_until

PINGS = 10
RELOADS = 5
PAUSES = 30
DIMM_MIB = 128  # a memory block of Linux
HOTPLUG_SECONDS = 60
MQ_BIT, MEM_SLOTS_BIT = 22, 15
# The receive buffers of two queue pairs.
BUFFER_PAGES = 100
ROOT_PORT = "rp0"  # with the device in it at boot, the firmware makes its window large enough
LOAD = hotplug.LOAD.format(module="virtio_net")


class Life:
    """The guest's eth0 is on port vm0 (memory slots) or on vm1 (memory table only)."""

    def __init__(self, stack):
        self.stack = stack
        self.vm = stack.guests[0].vm
        self.here = stack.guests[0]
        self.daemon_idle = leaks.held(stack.ringpassd.process.pid)
        self.device_idle = leaks.held(stack.softaccel.process.pid)
        self.used = set()

    def show(self):
        return self.here.show()

    def maps(self):
        return [queue["doorbell_maps"] for queue in self.show()["queues"]]

    def set_address(self):
        self.vm.set_address(0, f"{self.stack.guests[0].address}/{PREFIX_LENGTH}")

    def require_traffic(self):
        self.here.wait_modes()
        require_all(ping(self.vm, UPLINK_ADDRESS, PINGS), "pings")
        self.stack.require_alive()

    @contextlib.contextmanager
    def undisturbed(self):
        """No ping is lost and no ring is started anew meanwhile."""
        before = self.maps()
        stream = PingStream(self.vm, UPLINK_ADDRESS)
        yield
        require_all(stream.finish(), "pings")
        assert self.maps() == before

    def require_idle(self):
        """The port waits for the next VM, and nothing of the last one is left in ringpassd or in the device."""
        wait_until(lambda: self.show()["state"] == "listening", HOTPLUG_SECONDS, "the port listens")
        self.here.wait_modes("stopped")
        assert leaks.held(self.stack.ringpassd.process.pid) == self.daemon_idle
        # A function makes one eventfd of its own when it is first used, and keeps it.
        self.used.add(self.here.port)
        descriptors, mappings = self.device_idle
        assert leaks.held(self.stack.softaccel.process.pid) == (descriptors + len(self.used), mappings)


def reboots(life):
    life.vm.reboot()
    life.set_address()
    life.require_traffic()
    assert life.vm.boot_count == 2


def reloads_the_driver(life):
    life.vm.run(f"for i in $(seq {RELOADS}); do rmmod virtio_net; {LOAD}; done", timeout=120)
    life.set_address()
    life.require_traffic()


def changes_the_number_of_queues(life):
    assert int(life.show()["features_acked"], 16) >> MQ_BIT & 1
    life.vm.run("ethtool -L eth0 combined 1")
    shown = life.here.wait_modes({0: "direct", 1: "direct", 2: "stopped", 3: "stopped"})
    assert {queue["reason"] for queue in shown["queues"][2:]} == {"disabled by the frontend"}
    require_all(ping(life.vm, UPLINK_ADDRESS, PINGS), "pings by one pair")
    life.vm.run("ethtool -L eth0 combined 2")
    life.require_traffic()


def is_paused(life, monitor):
    before = life.maps()
    for _ in range(PAUSES):
        monitor.execute("stop")
        monitor.execute("cont")
    life.require_traffic()
    # Each pause stops the rings; the doorbells were offered anew, but not once per pause.
    assert all(old < new <= old + PAUSES for old, new in zip(before, life.maps()))


def wait_regions(life, count):
    wait_until(lambda: life.show()["regions"] == count, HOTPLUG_SECONDS, f"{count} memory regions")


def gets_memory(life, monitor, name):
    """And uses it for packets. @return pages of it that went to the driver."""
    regions, size = life.show()["regions"], life.show()["memory_bytes"]
    with life.undisturbed():
        hotplug.add_dimm(monitor, name, DIMM_MIB)
        wait_regions(life, regions + 1)
    assert life.show()["memory_bytes"] == size + (DIMM_MIB << 20)
    free = hotplug.use_memory(life.vm)
    life.set_address()
    life.require_traffic()
    return free - hotplug.free_pages(life.vm)


def loses_memory(life, monitor, name):
    """Memory that the guest does not use."""
    regions = life.show()["regions"]
    with life.undisturbed():
        hotplug.add_dimm(monitor, name, DIMM_MIB)
        wait_regions(life, regions + 1)
    with life.undisturbed():
        hotplug.remove_dimm(monitor, name)
        wait_regions(life, regions)
    life.require_traffic()


def has_slots(life):
    return int(life.show()["protocol_features"], 16) >> MEM_SLOTS_BIT & 1


def moves_to(life, monitor, guest):
    """Device unplugged, and plugged again with its other end on the port of that guest."""
    hotplug.remove_nic(monitor, 0)
    life.require_idle()
    life.here = guest
    hotplug.add_nic(monitor, life.vm.machine, 0, guest.vm.machine.nics[0])
    wait_until(lambda: "eth0" in life.vm.run("ls /sys/class/net").output, HOTPLUG_SECONDS, "eth0 in the guest")
    life.set_address()
    life.require_traffic()


def test_life(make_stack, qemu_program):
    stack = make_stack(guests=2, uplink=True, bus="rp0", port_options=[{}, {"memory": '"table"'}],
                       machine_options={"program": qemu_program, "programs": ["ethtool"], "memory_slots": 4,
                                        "root_ports": [ROOT_PORT]})
    first, second = stack.guests  # the second one's VM is never started, only its port is used
    stack.start_host()
    life = Life(stack)
    life.vm.start()
    life.set_address()
    life.require_traffic()
    reboots(life)
    reloads_the_driver(life)
    changes_the_number_of_queues(life)
    with life.vm.qmp() as monitor:
        is_paused(life, monitor)
        assert has_slots(life)
        pages = gets_memory(life, monitor, "dimm0")
        print(f"{pages} pages of the new memory are used for packets")
        assert pages >= BUFFER_PAGES
        loses_memory(life, monitor, "dimm1")
        moves_to(life, monitor, first)
        moves_to(life, monitor, second)
        assert not has_slots(life)
        gets_memory(life, monitor, "dimm2")
        loses_memory(life, monitor, "dimm3")
        moves_to(life, monitor, first)
        monitor.execute("quit")
    assert life.vm.wait_end() == 0
    life.require_idle()
    life.vm.start()
    life.set_address()
    life.require_traffic()
