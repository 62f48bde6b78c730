# SPDX-License-Identifier: BSD-3-Clause
"""Live migration of a guest from one QEMU to another, and how it is shown that no write was missed.

A page that a device writes is missed when it was copied before, is not logged, and nobody else writes it until the
end. So the guest is sent data while the migration is held up behind its first pass: a program that stands still does
not read them, they stay where the device has put them. Two looks follow: the whole memories of both QEMUs are
compared while both stand still, page by page; and the program goes on at the destination, and what it reads then
must have the checksum of what was sent.
"""

import contextlib
import fcntl
import hashlib
import mmap
import os
import secrets
import socket
import struct
import termios

from ringpass_testvm import supervise
from ringpass_testvm.errors import TestvmError

SECONDS = 300
MEMORY_NAME = "memfd:memory-backend-memfd"
# Bytes per second. One in which the first pass takes a second or two, one that is next to nothing, and all there is.
FIRST_PASS_SPEED, HELD_SPEED, FAST = 48 << 20, 1 << 12, 1 << 40
HELD_DOWNTIME_MS, DOWNTIME_MS = 1, 1000000
DESCRIBED_PAGES = 8
ENDED = ("completed", "failed", "cancelled")
# Before it, a write of an emulated processor may be missed that follows a look at the log ("physmem: Fix migration
# dirty bitmap coherency with TCG memory access").
COHERENT_QEMU = 9
BALLAST = "ballast"
BALLAST_BYTES, BALLAST_GRANULARITY = 64 << 30, 64 << 10
# Of each way; a window that is larger makes the guest's kernel keep all that is sent.
RECEIVE_WINDOW_BYTES = 64 << 20
GUEST_FILE = "/tmp/backlog"


def status(monitor):
    return monitor.execute("query-migrate").get("status")


def prepare_end(monitor):
    """Either end, before it migrates. QEMU ends a migration by itself as soon as little is left, and a guest that
    happens to write nothing for a moment is enough. So something is left until the end is allowed: the dirty bitmap of
    a disk that nobody has, a bit for each of a million blocks, which QEMU does not send before."""
    monitor.execute("blockdev-add", **{"driver": "null-co", "node-name": BALLAST, "size": BALLAST_BYTES})
    monitor.execute("migrate-set-capabilities", capabilities=[{"capability": "dirty-bitmaps", "state": True}])


class Migration:
    """Of the source's side."""

    def __init__(self, monitor, incoming, uri):
        """incoming: the destination's monitor."""
        self._monitor = monitor
        self._coherent = monitor.execute("query-version")["qemu"]["major"] >= COHERENT_QEMU
        prepare_end(incoming)
        incoming.execute("migrate-incoming", uri=uri)
        prepare_end(monitor)
        monitor.execute("block-dirty-bitmap-add", node=BALLAST, name=BALLAST, granularity=BALLAST_GRANULARITY)
        # where looks at the log lose something, there is one look, at the end
        self._held_downtime_ms = HELD_DOWNTIME_MS if self._coherent else 0
        self._set(FIRST_PASS_SPEED, self._held_downtime_ms)
        monitor.execute("migrate", uri=uri)

    def _set(self, speed, downtime_ms):
        self._monitor.execute("migrate-set-parameters", **{"max-bandwidth": speed, "downtime-limit": downtime_ms})

    def _require_going(self):
        now = self._monitor.execute("query-migrate")
        if now.get("status") in ENDED:
            raise TestvmError(f"migration: {now['status']}: {now.get('error-desc', '')}")

    def hold(self):
        """Until all memory was copied once, and what is copied from now on is known from the log; then hardly any more
        is copied, until finish()."""
        def passed():
            ram = self._monitor.execute("query-migrate").get("ram", {})
            if self._coherent:
                return ram.get("dirty-sync-count", 0) >= 2
            return ram.get("dirty-sync-count", 0) == 1 and ram["remaining"] == 0
        supervise.wait_until(passed, SECONDS, "a migration's first pass", self._require_going)
        self._set(HELD_SPEED, self._held_downtime_ms)
        self._require_going()
        if not self._monitor.execute("query-status")["running"]:
            raise TestvmError("the guest does not run while its migration is held")

    def finish(self):
        if not self._coherent:
            self._monitor.execute("stop")
        self._set(FAST, DOWNTIME_MS)
        self._wait("completed")

    def cancel(self):
        self._monitor.execute("migrate_cancel")
        self._wait("cancelled")
        self._monitor.execute("block-dirty-bitmap-remove", node=BALLAST, name=BALLAST)
        self._monitor.execute("blockdev-del", **{"node-name": BALLAST})

    def _wait(self, wanted):
        last = None

        def ended():
            nonlocal last
            last = self._monitor.execute("query-migrate")
            return last.get("status") in ENDED
        supervise.wait_until(ended, SECONDS, f"a migration that is {wanted}")
        if last["status"] != wanted:
            raise TestvmError(f"migration: {last['status']}, expected {wanted}: {last.get('error-desc', '')}")


@contextlib.contextmanager
def _memory(pid):
    """The guest's memory, of a QEMU: its own file, read through /proc."""
    directory = f"/proc/{pid}/fd"
    for name in os.listdir(directory):
        with contextlib.suppress(OSError):
            if MEMORY_NAME in os.readlink(f"{directory}/{name}"):
                with open(f"{directory}/{name}", "rb") as file:
                    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
                        yield memory
                return
    raise TestvmError(f"process {pid}: no {MEMORY_NAME}")


def different_pages(source_pid, destination_pid):
    """Compare the memories of two QEMUs that stand still. @return addresses of pages that differ."""
    page = os.sysconf("SC_PAGESIZE")
    chunk = 256 * page
    found = []
    with _memory(source_pid) as source, _memory(destination_pid) as destination:
        if len(source) != len(destination):
            raise TestvmError(f"memories of {len(source)} and {len(destination)} bytes")
        for start in range(0, len(source), chunk):
            if source[start:start + chunk] != destination[start:start + chunk]:
                found += [at for at in range(start, min(start + chunk, len(source)), page)
                          if source[at:at + page] != destination[at:at + page]]
    return found


def describe_pages(source_pid, destination_pid, pages):
    """For people: of each, the bytes that differ."""
    size = os.sysconf("SC_PAGESIZE")
    lines = []
    with _memory(source_pid) as source, _memory(destination_pid) as destination:
        for page in pages[:DESCRIBED_PAGES]:
            bytes_at = [at for at in range(page, page + size) if source[at] != destination[at]]
            start, end = bytes_at[0] & ~15, (bytes_at[0] & ~15) + 64
            lines.append(f"page 0x{page:x}: {len(bytes_at)} bytes from +0x{bytes_at[0] - page:x} to "
                         f"+0x{bytes_at[-1] - page:x}; from +0x{start - page:x} the source has "
                         f"{source[start:end].hex()}, the destination {destination[start:end].hex()}")
    return "\n".join(lines)


class Backlog:
    """A connection whose data stay in the guest's kernel, unread, until read()."""

    def __init__(self, vm, address):
        """address: ours, as the guest reaches it."""
        self._listener = socket.create_server((address, 0))
        self._listener.settimeout(SECONDS)
        port = self._listener.getsockname()[1]
        window = RECEIVE_WINDOW_BYTES
        vm.run(f"echo {window} >/proc/sys/net/core/rmem_max; "
               f"echo '{window} {window} {window}' >/proc/sys/net/ipv4/tcp_rmem")
        self._job = vm.spawn(f"nc {address} {port} </dev/null >{GUEST_FILE}")
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(SECONDS)
        self._job.signal("STOP")
        self._digest = hashlib.sha256()
        self._size = 0

    def send(self, size):
        """Until the guest has acknowledged the last byte."""
        data = secrets.token_bytes(size)
        self._digest.update(data)
        self._size += size
        self._connection.sendall(data)
        supervise.wait_until(lambda: not self._unacknowledged(), SECONDS, "the guest's kernel takes what it is sent")

    def _unacknowledged(self):
        return struct.unpack("i", fcntl.ioctl(self._connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]

    def read(self, vm):
        """Have the guest's program go on, and compare. vm: where the guest is now."""
        self._connection.shutdown(socket.SHUT_WR)
        vm.run(f"kill -CONT -$(cat {self._job.directory}/pid)")
        status = f"cat {self._job.directory}/status 2>/dev/null"
        supervise.wait_until(lambda: vm.run(status, check=False).output.strip(), SECONDS,
                             "the guest's program reads what came")
        words = vm.run(f"sha256sum <{GUEST_FILE}; wc -c <{GUEST_FILE}; rm {GUEST_FILE}", SECONDS).output.split()
        got = words[0], int(words[2])
        if got != (self._digest.hexdigest(), self._size):
            raise TestvmError(f"of {self._size} bytes that were sent while the guest migrated, it has {got[1]}, with "
                              f"{'the right' if got[0] == self._digest.hexdigest() else 'another'} checksum")

    def close(self):
        self._connection.close()
        self._listener.close()
