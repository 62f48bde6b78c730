# SPDX-License-Identifier: BSD-3-Clause
"""A software backend, a guest that it serves, and ringpassd in between or not: nothing is accelerated."""

import os

from ringpass_stack.programs import Control, Port, Ringpassd
from ringpass_testvm import VhostUser, Vm
from ringpass_testvm.supervise import wait_until

# What one run of all tests has time for are a few of the arrangements. With this variable set, all.
ALL_VARIABLE = "RINGPASS_TRANSPARENT"
WAYS = ("directly", "through")
RECONNECT_SECONDS = 1
LIMIT_SECONDS = 120


def wants_all():
    return os.environ.get(ALL_VARIABLE) == "all"


class Line:
    """From the backend to the sockets that guests use. Guest i has backend.sockets[i]."""

    def __init__(self, supervisor, build, backend, through, queue_pairs, device="net", port_options=None):
        """through: ringpassd is in between. The backend's way of connecting is QEMU's to choose then, too: where it
        connects to us, we connect to QEMU. port_options: more keys of the ports."""
        self.backend = backend
        self.ringpassd = None
        self._supervisor = supervisor
        self._qemu_listens = not backend.listens
        self._sockets = backend.sockets
        if through:
            self._sockets = [supervisor.path(f"vm{index}.sock") for index in range(len(backend.sockets))]
            self.names = [f"vm{index}" for index in range(len(backend.sockets))]
            mode = "client" if self._qemu_listens else "server"
            ports = [Port(name, socket, [], mode, queue_pairs, {
                "software": f'"{theirs}"', "software_mode": '"client"' if backend.listens else '"server"',
                "device": f'"{device}"', "reconnect_ms": 200, "software_reconnect_ms": 200, **(port_options or {})})
                for name, socket, theirs in zip(self.names, self._sockets, backend.sockets)]
            self.ringpassd = Ringpassd(supervisor, build, ports)
            self.control = Control(build, self.ringpassd.rpc)

    @property
    def listens(self):
        """Whoever a guest is connected to; else it connects to the guest's QEMU."""
        return not self._qemu_listens

    def socket(self, index=0):
        return self._sockets[index]

    def end(self, index=0):
        """@return VhostUser: for the guest of that number."""
        return VhostUser(self._sockets[index], self._qemu_listens, 0 if self._qemu_listens else RECONNECT_SECONDS)

    def start(self, *addresses):
        """addresses: of the backend's network interfaces."""
        if self.ringpassd:
            self.ringpassd.start()
        self.backend.start(*addresses)

    def guest(self, name, machine):
        return Vm(self._supervisor, name, machine)

    def require_alive(self):
        self.backend.process.require_alive()
        if self.ringpassd:
            self.ringpassd.process.require_alive()

    def restart_backend(self):
        """As after a crash."""
        self.backend.kill()
        self.backend.start()

    def restart_ringpassd(self):
        self.ringpassd.kill()
        self.ringpassd.start()

    def require_software(self, rings):
        """So many rings are served by the backend, and none by hardware."""
        if not self.ringpassd:
            return
        owners = []

        def served():
            nonlocal owners
            owners = [queue["owner"] for queue in self.control.show(self.names[0])["queues"]]
            return owners.count("software") >= rings
        wait_until(served, LIMIT_SECONDS, f"{rings} rings that the software backend serves", self.require_alive)
        assert "hardware" not in owners


def wait_answer(vm, address):
    """Until a ping is answered: after what may lose some."""
    wait_until(lambda: vm.run(f"ping -c 1 -W 1 {address}", check=False).status == 0, LIMIT_SECONDS,
               f"an answer from {address}", vm.require_alive)
