# SPDX-License-Identifier: BSD-3-Clause
"""Bulk data between a guest and this process over TCP, with a checksum at both ends."""

import contextlib
import hashlib
import os
import socket
import threading

from ringpass_testvm.errors import TestvmError

TRANSFER_SECONDS = 600
CHUNK_BYTES = 1 << 16
GUEST_FILE = "/tmp/bulk"


class _Peer:
    """Serves one connection in a thread. A context manager: the thread is gone at its end."""

    def __init__(self, address, serve):
        self._listener = socket.create_server((address, 0))
        self._listener.settimeout(TRANSFER_SECONDS)
        self._serve = serve
        self.port = self._listener.getsockname()[1]
        self.result = None
        self.error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(TRANSFER_SECONDS)
                self.result = self._serve(connection)
        except OSError as error:
            self.error = error

    def finish(self):
        """@return what the serve function did."""
        self._thread.join(TRANSFER_SECONDS)
        if self.error or self._thread.is_alive():
            raise TestvmError(f"bulk transfer: {self.error or 'no end'}")
        return self.result

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        # wakes an accept() that nobody has come for
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _receive(connection):
    digest, size = hashlib.sha256(), 0
    while True:
        data = connection.recv(CHUNK_BYTES)
        if not data:
            return digest.hexdigest(), size
        digest.update(data)
        size += len(data)


def _check(direction, sent, arrived):
    """Each is (checksum, size)."""
    if sent[1] != arrived[1]:
        raise TestvmError(f"bulk transfer {direction}: {sent[1]} bytes sent, {arrived[1]} arrived")
    if sent[0] != arrived[0]:
        raise TestvmError(f"bulk transfer {direction}: of {sent[1]} bytes the checksum was {sent[0]}, "
                          f"what arrived has {arrived[0]}")


def to_guest(vm, address, size):
    """Send random bytes from address (ours) to the guest, which keeps them. @return (checksum, size)."""
    data = os.urandom(size)
    with _Peer(address, lambda connection: connection.sendall(data)) as peer:
        vm.run(f"nc {address} {peer.port} </dev/null >{GUEST_FILE}", TRANSFER_SECONDS)
        peer.finish()
    words = vm.run(f"sha256sum <{GUEST_FILE}; wc -c <{GUEST_FILE}", TRANSFER_SECONDS).output.split()
    sent = hashlib.sha256(data).hexdigest(), size
    _check("to the guest", sent, (words[0], int(words[-1])))
    return sent


def from_guest(vm, address, sent):
    """Have the guest send back what to_guest() has left there and returned."""
    with _Peer(address, _receive) as peer:
        vm.run(f"nc {address} {peer.port} <{GUEST_FILE} >/dev/null && rm {GUEST_FILE}", TRANSFER_SECONDS)
        _check("from the guest", sent, peer.finish())
