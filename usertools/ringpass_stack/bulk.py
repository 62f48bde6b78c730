# SPDX-License-Identifier: BSD-3-Clause
"""Data that flow both ways between a guest and this process, at a modest rate, until they are ended and compared."""

import hashlib
import secrets
import socket
import threading
import time

from ringpass_testvm.errors import TestvmError

SECONDS = 120
BLOCK_BYTES = 1 << 14
PAUSE_SECONDS = 0.02
GUEST_FILE, GUEST_SUM, GUEST_END = "/tmp/bulk-block", "/tmp/bulk-sum", "/tmp/bulk-end"


class Bulk:
    """One connection each way."""

    def __init__(self, vm, address):
        """address: ours, as the guest reaches it."""
        self._vm = vm
        self._ended = threading.Event()
        self._sent, self._received = hashlib.sha256(), 0
        self._error = None
        with socket.create_server((address, 0)) as down, socket.create_server((address, 0)) as up:
            down.settimeout(SECONDS)
            up.settimeout(SECONDS)
            vm.run(f"rm -f {GUEST_END}; dd if=/dev/urandom of={GUEST_FILE} bs={BLOCK_BYTES} count=1 2>/dev/null")
            self._jobs = [
                vm.spawn(f"nc {address} {down.getsockname()[1]} </dev/null | sha256sum >{GUEST_SUM}"),
                vm.spawn(f"while [ ! -e {GUEST_END} ]; do cat {GUEST_FILE}; usleep {int(PAUSE_SECONDS * 1e6)}; done | "
                         f"nc {address} {up.getsockname()[1]} >/dev/null")]
            self._down, _ = down.accept()
            self._up, _ = up.accept()
        for connection in (self._down, self._up):
            connection.settimeout(SECONDS)
        self._block = b""
        self._threads = [threading.Thread(target=self._guarded, args=(one,), daemon=True)
                         for one in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _guarded(self, work):
        try:
            work()
        except (OSError, TestvmError) as error:
            self._error = error

    def _send(self):
        while not self._ended.is_set():
            data = secrets.token_bytes(BLOCK_BYTES)
            self._down.sendall(data)
            self._sent.update(data)
            time.sleep(PAUSE_SECONDS)
        self._down.shutdown(socket.SHUT_WR)

    def _receive(self):
        """The same block again and again: the first is compared with the guest's at the end."""
        pending = b""
        while data := self._up.recv(BLOCK_BYTES):
            pending += data
            while len(pending) >= BLOCK_BYTES:
                block, pending = pending[:BLOCK_BYTES], pending[BLOCK_BYTES:]
                self._block = self._block or block
                if block != self._block:
                    raise TestvmError(f"of what the guest sent, block {self._received} is another one")
                self._received += 1
        if pending:
            raise TestvmError(f"of what the guest sent last, {len(pending)} bytes are no block")

    def finish(self):
        """@return bytes to the guest's credit: those that came from it whole. @raises TestvmError when any differ."""
        self._ended.set()
        self._vm.run(f"touch {GUEST_END}")
        for thread in self._threads:
            thread.join(SECONDS)
        for connection in (self._down, self._up):  # busybox' nc waits for it
            connection.close()
        for job in self._jobs:
            job.wait(SECONDS)
        if self._error:
            raise TestvmError(f"bulk data: {self._error}")
        arrived = self._vm.run(f"cut -c1-64 {GUEST_SUM}").output.strip()
        block = self._vm.run(f"sha256sum <{GUEST_FILE}").output.split()[0]
        if arrived != self._sent.hexdigest():
            raise TestvmError("bulk data to the guest: another checksum")
        if block != hashlib.sha256(self._block).hexdigest():
            raise TestvmError("bulk data from the guest: another checksum")
        return self._received * BLOCK_BYTES
