# SPDX-License-Identifier: BSD-3-Clause
"""qemu-storage-daemon as a software backend: one disk over vhost-user-blk. A backend that follows the specification."""

import os
import shutil

from ringpass_testvm import supervise

PROGRAM = "qemu-storage-daemon"
START_SECONDS = 60


def is_installed():
    return shutil.which(PROGRAM) is not None


class QsdBackend:
    """What a port of ours, or QEMU by itself, is the frontend of. The disk's content is kept over a restart."""

    kind = "specification"
    listens = True  # it has no other way

    def __init__(self, supervisor, mib=64, queues=2, name="qsd"):
        self._supervisor = supervisor
        self._name = name
        self._queues = queues
        self.size_bytes = mib << 20
        self.image = supervisor.path(f"{name}.img")
        self.sockets = [supervisor.path(f"{name}.sock")]
        self.process = None

    def start(self):
        if not os.path.exists(self.image):
            with open(self.image, "wb") as file:
                file.truncate(self.size_bytes)
        socket = self.sockets[0]
        if os.path.exists(socket):  # of one that was killed
            os.unlink(socket)
        self.process = self._supervisor.start(self._name, [
            PROGRAM, "--blockdev", f"driver=file,node-name=disk,filename={self.image}",
            "--export", f"type=vhost-user-blk,id=export,node-name=disk,writable=on,num-queues={self._queues},"
                        f"addr.type=unix,addr.path={socket}"])
        supervise.wait_until(lambda: os.path.exists(socket), START_SECONDS, f"{PROGRAM}'s socket",
                             self.process.require_alive)

    def kill(self):
        """As a crash would."""
        process, self.process = self.process, None
        return process.kill()

    def stop(self):
        """@return exit status."""
        process, self.process = self.process, None
        return process.stop()
