# SPDX-License-Identifier: BSD-3-Clause
"""Lines from this machine into the hardware VM: what is a character device in there is a Unix socket here.

A line is connected from the VM's first moment to its last. What is at its other end in the VM may come and go:
one nested guest, then the next.
"""

import contextlib
import json
import os
import select
import socket

from ringpass_testvm.errors import TestvmError
from ringpass_testvm.qmp import ANSWER_SECONDS, Qmp


def device(number):
    """Of line number, in the VM, once guest/mount-root has run."""
    return f"/dev/line.{number}"


def arguments(sockets):
    """QEMU's, for lines to these sockets, which must be listening."""
    command = ["-device", f"virtio-serial-pci,id=lines,max_ports={len(sockets) + 1}"]
    for number, path in enumerate(sockets):
        command += ["-chardev", f"socket,id=line{number},path={path}",
                    "-device",
                    f"virtserialport,bus=lines.0,nr={number + 1},chardev=line{number},name=line.{number}"]
    return command


class _LineQmp(Qmp):
    """QMP on a line. Its end closes nothing: the next QEMU will use the line."""

    def __init__(self, connection):
        self._socket = connection
        self._file = connection.makefile("r", encoding="utf-8", errors="replace")
        self._events = []

    def greet(self):
        """What the line still carries of an earlier QEMU comes before the greeting."""
        try:
            while True:
                line = self._file.readline()
                if not line:
                    raise TestvmError("QMP: the line into the VM is closed")
                with contextlib.suppress(ValueError):
                    if "QMP" in json.loads(line):
                        break
        except OSError as error:
            raise TestvmError(f"QMP: {error}") from error
        self.execute("qmp_capabilities")

    def close(self):
        pass

    def forget(self):
        """What was read of the line and not used is gone; the line itself is not."""
        self._file.close()


class MonitorLine:
    """A line that is to carry QMP."""

    def __init__(self, path):
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._connection = None
        self._qmp = None

    def _accept(self):
        self._listener.settimeout(ANSWER_SECONDS)
        self._connection, _ = self._listener.accept()

    def forget(self):
        """The QEMU behind it has ended: what it has said is not for the next one's user."""
        if self._qmp:
            self._qmp.forget()
            self._qmp = None
        if not self._connection:
            return
        while select.select([self._connection], [], [], 0)[0]:
            if not self._connection.recv(65536):
                break

    def qmp(self):
        if self._qmp:
            return self._qmp
        try:
            if not self._connection:
                self._accept()
            self._connection.settimeout(ANSWER_SECONDS)
            qmp = _LineQmp(self._connection)
        except OSError as error:
            raise TestvmError(f"QMP: {error}") from error
        try:
            qmp.greet()
        except TestvmError:
            qmp.forget()
            raise
        self._qmp = qmp
        return qmp

    def close(self):
        self.forget()
        for one in (self._connection, self._listener):
            if one:
                one.close()
        self._connection = None
        if os.path.exists(self._path):
            os.unlink(self._path)
