# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose cards are functions of softaccel itself, passed through whole by vfio-user: no ringpassd between."""

import os
import re

from ringpass_testvm import VfioUser, Vm, hotplug, netns, prepare
from ringpass_testvm.supervise import wait_until

from .programs import Function, Softaccel
from .scenario import PREFIX_LENGTH, UPLINK_ADDRESS, UPLINK_SECONDS

PLUG_SECONDS = 60
INTERRUPTS = r"^ *\d+:((?: +\d+)+) .* {device}-(\S+)$"


class Card:
    """Function n of softaccel, in root port n of the guest; eth<n> there, if all before it are plugged."""

    def __init__(self, rig, number, function):
        self.number = number
        self.function = function
        self.name = f"eth{number}"
        self._rig = rig

    def device(self, **properties):
        """properties: more of vfio-user-pci's."""
        return VfioUser(self.function.socket, f"rp{self.number}", properties)

    def use(self):
        """The guest talks through this card from now on, and through no other: all are on the same network."""
        self._rig.vm.run("for card in /sys/class/net/eth*; do ip link set ${card##*/} down; done")
        self._rig.vm.run(f"ip addr flush dev {self.name}")
        self._rig.vm.set_address(self.number, f"10.77.0.{self.number + 2}/{PREFIX_LENGTH}")

    def plug(self, monitor, **properties):
        """Until the guest has it."""
        hotplug.add_device(monitor, self._rig.machine, self.number, self.device(**properties))
        wait_until(lambda: self.name in self._rig.vm.run("ls /sys/class/net").output, PLUG_SECONDS,
                   f"{self.name} in the guest", self._rig.require_alive)

    def unplug(self, monitor):
        """Until the guest and QEMU have let go of it."""
        hotplug.remove_device(monitor, self.number)

    def queues(self):
        """What softaccel counts."""
        return self._rig.softaccel.queues(self.number)

    def interrupts(self):
        """What the guest counts, of each of its interrupts: {"config" | "input.0" | "output.0" | ...: number}."""
        path = self._rig.vm.run(f"readlink -f /sys/class/net/{self.name}/device").output
        device = path.strip().rpartition("/")[2]
        table = self._rig.vm.run("cat /proc/interrupts").output
        found = re.findall(INTERRUPTS.format(device=device), table, re.MULTILINE)
        return {name: sum(map(int, counts.split())) for counts, name in found}

    def has_feature(self, bit):
        """Whether the guest's driver and the device agreed on it."""
        return self._rig.vm.run(f"cat /sys/class/net/{self.name}/device/features").output.strip()[bit] == "1"


class Passthrough:
    """Creates nothing until start_softaccel(), and no guest until its user starts vm."""

    def __init__(self, supervisor, build, store, functions, **machine_options):
        """functions: of each, a dictionary of options of Function, but for socket and mac. The first one is there when
        the guest boots. machine_options: of prepare.machine()."""
        self.uplink = f"rp{os.getpid()}"
        own = [Function(supervisor.path(f"f{number}.sock"), f"52:54:00:00:00:{number + 1:02x}", **options)
               for number, options in enumerate(functions)]
        self.softaccel = Softaccel(supervisor, build, own, self.uplink)
        self.cards = [Card(self, number, function) for number, function in enumerate(own)]
        self.machine = prepare.machine([self.cards[0].device()], store,
                                       root_ports=[f"rp{card.number}" for card in self.cards], **machine_options)
        self.vm = Vm(supervisor, "guest0", self.machine)

    def start_softaccel(self):
        self.softaccel.start()
        netns.set_address(self.uplink, f"{UPLINK_ADDRESS}/{PREFIX_LENGTH}", UPLINK_SECONDS)

    def require_alive(self):
        if self.softaccel.process:
            self.softaccel.process.require_alive()
        self.vm.require_alive()
