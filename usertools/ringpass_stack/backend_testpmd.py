# SPDX-License-Identifier: BSD-3-Clause
"""testpmd as a software backend: net_vhost ports (librte_vhost), each joined to a TAP interface of this machine."""

import dataclasses
import glob
import os

from ringpass_testvm import netns

from .testpmd import Testpmd

UPLINK_SECONDS = 30
# Of a TAP: of its own, so that a guest's address table stays true over a restart.
UPLINK_MAC = "52:54:00:00:02:{:02x}"


@dataclasses.dataclass
class NetVhost:
    """A port of testpmd that a vhost-user frontend uses."""

    socket: str
    queues: int = 1
    listens: bool = True
    more: str = ""  # further arguments of the device

    def device(self, index):
        """As --vdev wants it."""
        text = f"net_vhost{index},iface={self.socket},queues={self.queues},client={int(not self.listens)}"
        return f"{text},{self.more}" if self.more else text


@dataclasses.dataclass
class Tap:
    """A port of testpmd that is a network interface of this machine."""

    interface: str
    mac: str
    queues: int = 1  # of every port, as testpmd counts them

    def device(self, index):
        return f"net_tap{index},iface={self.interface},mac={self.mac}"


class TestpmdBackend:
    """What a port of ours, or QEMU by itself, is the frontend of. Kept over a restart: sockets and interfaces."""

    __test__ = False  # the name looks like a test class to pytest
    kind = "librte_vhost"

    def __init__(self, supervisor, ports=1, queue_pairs=1, listens=True, name="backend", more="",
                 mac=UPLINK_MAC, environment=None, nice=0):
        """listens: the sockets are testpmd's; else it connects to them, again and again. more: of each NetVhost.
        mac: of the TAPs, with a place for the number. environment: variables to add. nice: of the thread that forwards,
        which never sleeps: on a small machine a guest should not have to wait for it."""
        self.listens = listens
        self.sockets = [supervisor.path(f"{name}{index}.sock") for index in range(ports)]
        self.uplinks = [f"{name[:4]}{os.getpid()}t{index}" for index in range(ports)]
        devices = []
        for index, (socket, uplink) in enumerate(zip(self.sockets, self.uplinks)):
            devices += [NetVhost(socket, queue_pairs, listens, more),
                        Tap(uplink, mac.format(index), queue_pairs)]
        self._addresses = ()
        self._nice = nice
        self._testpmd = Testpmd(supervisor, devices, name, environment)

    @property
    def process(self):
        return self._testpmd.process

    def start(self, addresses=()):
        """addresses: of the TAPs, with prefix length; none: as at the last start."""
        self._addresses = addresses or self._addresses
        if self.listens:
            for socket in self.sockets:
                if os.path.exists(socket):  # of one that was killed: librte_vhost takes no other's place
                    os.unlink(socket)
        self._testpmd.start()
        # Ports 0 and 1 are one such pair, 2 and 3 the next: "io" hands over from one to the other.
        self._testpmd.command("set fwd io")
        self._testpmd.command("start")
        self._yield()
        for uplink, address in zip(self.uplinks, self._addresses):
            netns.set_address(uplink, address, UPLINK_SECONDS)

    def _yield(self):
        """A niceness is a thread's own in Linux."""
        for task in glob.glob(f"/proc/{self.process.pid}/task/*"):
            with open(f"{task}/comm", encoding="utf-8") as file:
                if "worker" in file.read():
                    os.setpriority(os.PRIO_PROCESS, int(os.path.basename(task)), self._nice)

    def counters(self, index=0):
        """@return PortCounters of the port behind the socket of that number."""
        return self._testpmd.counters()[2 * index]

    def kill(self):
        """As a crash would."""
        return self._testpmd.kill()

    def stop(self):
        self._testpmd.stop()
