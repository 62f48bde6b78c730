# SPDX-License-Identifier: BSD-3-Clause
"""The usual arrangement: guest i on port vm<i>, served by function i of one softaccel; an uplink or none; a software
backend for each guest, or none."""

import dataclasses
import os
import time

from ringpass_testvm import Nic, VhostUser, Vm, netns, prepare, supervise
from ringpass_testvm.errors import TestvmError

from . import ping
from .backend_testpmd import TestpmdBackend
from .bridge import Bridge
from .programs import UPLINK_MAC, Control, Function, Port, Ringpassd, Softaccel

PREFIX_LENGTH = 24
UPLINK_ADDRESS = "10.77.0.1"
UPLINK_SECONDS = 30
# The doorbell is offered 250 ms after a ring's start, and again later when the guest's driver is restless.
DIRECT_SECONDS = 60
RECONNECT_SECONDS = 1
READY_SECONDS = 30
# Of a software backend's busy thread, and how long answers of what it has sent may then take.
BACKEND_NICE, DRAIN_MS = 10, 10


class Guest:
    """One guest, its port and its function."""

    def __init__(self, stack, index, machine):
        self.port = f"vm{index}"
        self.address = f"10.77.0.{index + 2}"
        self.backend = stack.backends[index] if stack.backends else None
        self.vm = Vm(stack.supervisor, f"guest{stack.host}{index}", machine)
        self._control = stack.control
        self._alive = stack.require_alive

    def set_address(self):
        self.vm.set_address(0, f"{self.address}/{PREFIX_LENGTH}")

    def show(self):
        return self._control.show(self.port)

    def has_feature(self, bit):
        """Whether the guest's driver and its device agreed on it."""
        text = self.vm.run("cat /sys/class/net/eth0/device/features").output.strip()
        return text[bit] == "1"

    def wait_modes(self, expected="direct", timeout=DIRECT_SECONDS):
        return self._control.wait_modes(self.port, expected, timeout, self._alive)

    def move(self, wish, *queues):
        """All queues, or those named: to "hardware" or "software", or as it comes ("auto")."""
        self._control.move(self.port, wish, *queues)

    def toggle(self, pair, hold_seconds):
        """Disable a queue pair, and enable it again until it is direct. @return the ping.Window that it took."""
        start = ping.clock(self.vm)
        self._control.disable(self.port, pair)
        self.wait_modes({2 * pair: "stopped", 2 * pair + 1: "stopped"})
        time.sleep(hold_seconds)
        self._control.enable(self.port, pair)
        self.wait_modes()
        return ping.Window(start, ping.clock(self.vm))


def _of_guest(options, index):
    return (options[index] if isinstance(options, list) else options) or {}


class Stack:
    """Creates nothing until start_host()."""

    def __init__(self, supervisor, build, store, guests=1, queue_pairs=2, functions_per_guest=1, uplink=False,
                 qemu_listens=False, doorbell="page", port_options=None, machine_options=None, software=False,
                 bridged=False, bridge=None, host="", software_environment=None, ringpassd_environment=None,
                 accelerator_options="", asks=False, **nic_options):
        """store: a testvm Cache. functions_per_guest: share the queue pairs of each guest, as one switch port.
        qemu_listens: QEMU is the server of the vhost-user socket. doorbell: softaccel's. port_options: more keys of
        the ports. machine_options: of prepare.machine(). Both may be a list with one for each guest. nic_options: of
        Nic. software: a testpmd behind each port; it and the uplink are ports of a bridge. bridged: the uplink is, also
        without testpmd. bridge: of another stack that has started it, whose hosts this one shall reach. host: a digit
        that sets this stack apart from others in the same directory and namespace. software_environment,
        ringpassd_environment: variables for the software backends, and for ringpassd. accelerator_options: more of each
        accelerator's arguments. asks: softaccel translates by itself, behind a guest's IOMMU."""
        self.supervisor = supervisor
        self.host = host
        self.software_environment = software_environment
        # The namespace is ours alone; the pid makes logs of several runs easier to tell apart.
        bridged = bridged or software
        self.uplink = f"rp{os.getpid()}{host and 'h'}{host}" if uplink or bridged else None
        self._own_bridge = bridged and bridge is None
        self.bridge = bridge
        if self._own_bridge:
            self.bridge = Bridge("rpbridge", UPLINK_MAC, f"{UPLINK_ADDRESS}/{PREFIX_LENGTH}")
        functions, ports, machines, self.backends = [], [], [], []
        for index in range(guests):
            mac, socket = f"52:54:00:00:00:{index + 1:02x}", supervisor.path(f"vm{host}{index}.sock")
            group = f"guest{index}" if functions_per_guest > 1 else ""
            own = [Function(supervisor.path(f"f{host}{index}-{number}.sock"), mac, queue_pairs // functions_per_guest,
                            group, doorbell, iommu=asks) for number in range(functions_per_guest)]
            functions += own
            more = dict(_of_guest(port_options, index))
            if software:
                self.backends.append(self._backend(index, queue_pairs))
                more = {"software": f'"{self.backends[-1].sockets[0]}"', "drain_ms": DRAIN_MS, **more}
            arguments = [",".join(filter(None, [f"vfio-user,socket={one.socket}", accelerator_options])) for one in own]
            ports.append(Port(f"vm{index}", socket, arguments,
                              "client" if qemu_listens else "server", queue_pairs, more))
            nic = Nic(VhostUser(socket, qemu_listens, 0 if qemu_listens else RECONNECT_SECONDS), mac, queue_pairs,
                      **nic_options)
            machines.append(prepare.machine([nic], store, **_of_guest(machine_options, index)))
        self.softaccel = Softaccel(supervisor, build, functions, self.uplink, f"softaccel{host}",
                                   f"52:54:00:00:04:{int(host or 0):02x}" if bridged else UPLINK_MAC)
        self.ringpassd = Ringpassd(supervisor, build, ports, f"ringpassd{host}", ringpassd_environment)
        self.control = Control(build, self.ringpassd.rpc)
        self.guests = [Guest(self, index, machine) for index, machine in enumerate(machines)]

    def _backend(self, index, queue_pairs):
        return TestpmdBackend(self.supervisor, queue_pairs=queue_pairs, name=f"sw{self.host or 0}{index}",
                              mac=f"52:54:00:00:03:{index:x}{self.host or 0}",
                              environment=self.software_environment, nice=BACKEND_NICE)

    def require_alive(self):
        for program in (self.softaccel, self.ringpassd, *self.backends):
            if program.process:
                program.process.require_alive()
        for guest in self.guests:
            guest.vm.require_alive()

    def restored(self, guest, more):
        """@return a Vm in place of a guest's, which has ended: the same machine, with more arguments."""
        old = guest.vm.machine
        return Vm(self.supervisor, f"{guest.vm.name}r", dataclasses.replace(old, extra=[*old.extra, *more]))

    def start_softaccel(self):
        self.softaccel.start()
        if self.bridge:
            self.bridge.attach(self.uplink)
        elif self.uplink:
            netns.set_address(self.uplink, f"{UPLINK_ADDRESS}/{PREFIX_LENGTH}", UPLINK_SECONDS)

    def start_backend(self, backend):
        backend.start()
        self.bridge.attach(backend.uplinks[0])

    def start_host(self):
        if self._own_bridge:
            self.supervisor.on_close(self.bridge.stop)
            self.bridge.start()
        self.start_softaccel()
        for backend in self.backends:
            self.start_backend(backend)
        self.start_ringpassd()

    def start_ringpassd(self):
        """Until frontends can connect: a port waits for its software backend."""
        self.ringpassd.start()
        for guest in self.guests:
            supervise.wait_until(lambda: guest.show()["state"] != "waiting", READY_SECONDS,
                                 f"port {guest.port} knows its software backend", self.ringpassd.process.require_alive)

    def start_guests(self):
        for guest in self.guests:
            guest.vm.launch()
        for guest in self.guests:
            guest.vm.wait_boot()
            guest.set_address()

    def start(self, mode="direct"):
        """Everything, until all queues are in that mode."""
        self.start_host()
        self.start_guests()
        for guest in self.guests:
            guest.wait_modes(mode)


def require_all(report, what):
    """@raises TestvmError when a ping was lost outside the windows."""
    if report.lost:
        raise TestvmError(f"{what}: {len(report.lost)} of {report.sent} pings lost: numbers {report.lost[:20]}")
    return report
