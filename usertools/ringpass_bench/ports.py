# SPDX-License-Identifier: BSD-3-Clause
"""What ports cost a ringpassd: memory of one at rest, and of each of a thousand.

Each port has a software backend, which this process plays, so that the port is up: its offer is fixed
and its socket listens. What counts is what is the daemon's alone (PSS): the pages of libraries that
others use too are theirs as well.
"""

import contextlib
import os
import re
import resource
import selectors
import socket
import struct
import subprocess
import tempfile
import time

from ringpass_testvm import stopping
from ringpass_testvm.supervise import die_with_parent

from .errors import BenchError

PORTS = 1000
PORTS_ONCE = 8
DESCRIPTORS_PER_PORT = 16
LIMIT_SECONDS = 60
PAUSE_SECONDS = 0.02
SOCKET_SECONDS = 10
TIMEVAL = struct.Struct("ll")

# vhost-user: requests that are answered with a number, and what is said.
HEADER = struct.Struct("<III")
REPLY_FLAGS = 0x1 | 0x4
NEED_REPLY = 0x8
ANSWERS = {1: 1 << 32 | 1 << 30, 15: 1 << 0 | 1 << 3, 17: 1}  # VERSION_1; MQ, REPLY_ACK; one pair


class Backend:
    """A device of nothing behind each port: it says what it can do, and is never given a ring."""

    def __init__(self, path):
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(PORTS)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections = []

    def serve(self, seconds):
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._listener:
                connection, _address = self._listener.accept()
                # By the kernel: with a timeout of Python's a socket does not wait for all.
                for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                    connection.setsockopt(socket.SOL_SOCKET, option, TIMEVAL.pack(SOCKET_SECONDS, 0))
                self._connections.append(connection)
                self._selector.register(connection, selectors.EVENT_READ)
            else:
                self._answer(key.fileobj)

    def _answer(self, connection):
        header = connection.recv(HEADER.size, socket.MSG_WAITALL)
        if not header:
            self._selector.unregister(connection)
            return
        if len(header) < HEADER.size:
            raise BenchError("ports: half a message, and no more in time")
        request, flags, size = HEADER.unpack(header)
        if size and len(connection.recv(size, socket.MSG_WAITALL)) < size:
            raise BenchError("ports: half a message, and no more in time")
        if request in ANSWERS or flags & NEED_REPLY:
            connection.sendall(HEADER.pack(request, REPLY_FLAGS, 8) + struct.pack("<Q", ANSWERS.get(request, 0)))

    def close(self):
        for one in (*self._connections, self._listener):
            one.close()
        self._selector.close()


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Pss:\s+(\d+) kB", file.read(), re.MULTILINE).group(1))


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", file.read(), re.MULTILINE).group(1))


@contextlib.contextmanager
def daemon(context, directory, count):
    path = os.path.join(directory, f"{count}.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write("ports = (\n" + ",\n".join(
            f'{{ name = "p{i}"; socket = "{directory}/p{i}"; queue_pairs = 1; software = "{directory}/backend"; }}'
            for i in range(count)) + "\n);\n")
    program = os.path.join(context.build_dir, "app", "ringpassd", "ringpassd")
    command = [program, "--config", path, "--rpc", f"{directory}/rpc-{count}", "--log-level", "error"]
    parent = os.getpid()
    with contextlib.ExitStack() as stack:
        with stopping.deferred():
            process = stack.enter_context(subprocess.Popen(
                command, stdin=subprocess.DEVNULL, preexec_fn=lambda: die_with_parent(parent)))
            stack.callback(_end, process)
        yield process


def _end(process):
    process.terminate()
    try:
        process.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def wait_until(fact, process, backend=None):
    deadline = time.monotonic() + LIMIT_SECONDS
    while not fact():
        if process.poll() is not None:
            raise BenchError(f"ports: ringpassd ended with exit status {process.returncode}")
        if time.monotonic() > deadline:
            raise BenchError("ports: they did not come up in time")
        if backend is None:
            time.sleep(PAUSE_SECONDS)
        else:
            backend.serve(PAUSE_SECONDS)


def measure(context, directory, count):
    """KiB: resident, and its own."""
    backend = Backend(f"{directory}/backend") if count else None
    try:
        with daemon(context, directory, count) as process:
            wait_until(lambda: os.path.exists(f"{directory}/rpc-{count}"), process, backend)
            wait_until(lambda: all(os.path.exists(f"{directory}/p{i}") for i in range(count)), process, backend)
            return rss_kib(process.pid), pss_kib(process.pid)
    finally:
        if backend is not None:
            backend.close()
            os.unlink(f"{directory}/backend")


def run(context):
    count = PORTS_ONCE if context.once else PORTS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = DESCRIPTORS_PER_PORT * count + 100
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchError(f"ports: {hard} descriptors are allowed, {count} ports need {needed}: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        with contextlib.ExitStack() as stack:
            with stopping.deferred():
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ringpass-bench."))
            rss, at_rest = measure(context, directory, 0)
            _rss, with_ports = measure(context, directory, count)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    yield context.row("daemon_rss_mib", rss / 1024, "MiB")
    yield context.row("port_kib", (with_ports - at_rest) / count, "KiB")
