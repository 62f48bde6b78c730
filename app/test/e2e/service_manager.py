# SPDX-License-Identifier: BSD-3-Clause
"""As much of a service manager as a daemon sees: the notification socket, the descriptor store, socket activation.

systemd's manual pages sd_notify(3) and sd_listen_fds(3) say what is done here.
"""

import contextlib
import ctypes
import fcntl
import os
import platform
import signal
import socket
import sys
import threading

from ringpass_testvm import supervise

MESSAGE_BYTES = 4096
DESCRIPTORS_MAX = 253  # of one message
READY_SECONDS = 60
FIRST_FD = 3
HIGH_FD = 500
END_SECONDS = 60
# kcmp(2), which no library wraps, and its KCMP_FILE.
KCMP = {"x86_64": 312, "aarch64": 272, "s390x": 343}
KCMP_FILE = 0
LIBC = ctypes.CDLL(None)

# What runs before the daemon, in its process: the descriptors get the numbers that the protocol wants.
LAUNCH = f"""
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, {HIGH_FD}) for fd in sys.argv[1].split(",") if fd]
for fd in filter(None, sys.argv[1].split(",")):
    os.close(int(fd))
for number, fd in enumerate(fds):
    os.dup2(fd, {FIRST_FD} + number)
if fds:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.argv[2], sys.argv[2:])
"""


def same_file(a, b):
    """Whether two descriptors are one open file."""
    me = os.getpid()
    number = KCMP.get(platform.machine())
    return number is not None and LIBC.syscall(number, me, me, KCMP_FILE, a, b) == 0


class ServiceManager:
    """Runs one service, again and again; keeps what the service gives it."""

    def __init__(self, supervisor, command, name="ringpassd"):
        self._supervisor = supervisor
        self._command = command
        self._name = name
        self._path = supervisor.path("notify.sock")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._path)
        self._changed = threading.Condition()
        self._store = []  # (name, descriptor), oldest first
        self._messages = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.process = None

    def close(self):
        if self._socket.fileno() < 0:
            return
        if self.process is not None:
            self.stop()
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as waker:
            waker.sendto(b"", self._path)
        self._thread.join()
        self._socket.close()
        for _, fd in self._store:
            os.close(fd)

    def start(self, more=()):
        """more: (name, descriptor) that lie in no store, as those of socket units."""
        with self._changed:
            self._messages.clear()
            handed = [*more, *self._store]
        names = ":".join(name for name, _ in handed)
        fds = [fd for _, fd in handed]
        environment = {"NOTIFY_SOCKET": self._path, **({"LISTEN_FDNAMES": names} if fds else {})}
        self.process = self._supervisor.start(
            self._name, [sys.executable, "-c", LAUNCH, ",".join(map(str, fds)), *self._command], environment,
            pass_fds=fds)

    def wait_ready(self):
        supervise.wait_until(lambda: self.was_told("READY=1"), READY_SECONDS, "the service is ready",
                             self.process.require_alive)

    def stop(self):
        """@return exit status."""
        process, self.process = self.process, None
        return process.stop()

    def kill(self):
        process, self.process = self.process, None
        return process.kill()

    def ended(self):
        """It ends by itself. @return exit status."""
        process, self.process = self.process, None
        return process.wait(END_SECONDS)

    def replace_by_signal(self):
        """As systemd does on a restart, with RestartKillSignal=SIGUSR2. @return exit status."""
        os.kill(self.process.pid, signal.SIGUSR2)
        return self.ended()

    def was_told(self, line):
        """By the service that was started last."""
        with self._changed:
            return any(line in message for message in self._messages)

    def stored(self):
        """@return the names of what is in the store, sorted."""
        with self._changed:
            return sorted(name for name, _ in self._store)

    def put(self, name, fd):
        """Put a descriptor there that no service gave; it is duplicated."""
        with self._changed:
            self._store.append((name, os.dup(fd)))

    def drop(self, name):
        """Lose what has this name, as a store that is too small does."""
        with self._changed:
            self._keep({"FDNAME": name, "FDSTOREREMOVE": "1"}, [])

    def _serve(self):
        while True:
            data, fds, _, _ = socket.recv_fds(self._socket, MESSAGE_BYTES, DESCRIPTORS_MAX)
            if not data:
                return
            for fd in fds:
                fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            lines = data.decode().split("\n")
            with self._changed:
                self._messages.append(lines)
                self._keep(dict(line.partition("=")[::2] for line in lines), fds)

    def _keep(self, values, fds):
        name = values.get("FDNAME", "stored")
        if values.get("FDSTOREREMOVE") == "1":
            for _, fd in [one for one in self._store if one[0] == name]:
                os.close(fd)
            self._store = [one for one in self._store if one[0] != name]
        if values.get("FDSTORE") == "1":
            for fd in fds:
                # As systemd: an open file that is there already is not kept once more, whatever its name.
                if any(same_file(fd, kept) for _, kept in self._store):
                    os.close(fd)
                else:
                    self._store.append((name, fd))
        else:
            # That of a barrier: its end is the answer.
            for fd in fds:
                os.close(fd)
