# SPDX-License-Identifier: BSD-3-Clause
"""Files made once and named by what they were made from. Safe with several processes at once."""

import contextlib
import fcntl
import hashlib
import os
import tempfile

from . import stopping


def default_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ringpass-testvm")


def content_hash(parts):
    """parts: iterable of bytes or str. Lengths are hashed too: parts cannot run into each other."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:20]


class Cache:
    def __init__(self, directory=None):
        self.directory = os.path.abspath(directory or default_directory())
        os.makedirs(self.directory, exist_ok=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    @contextlib.contextmanager
    def locked(self, name):
        """One process at a time makes what name stands for."""
        with open(self.path(f"{name}.lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write(self, name, data):
        """Whole or not at all."""
        with stopping.deferred():
            handle, temporary = tempfile.mkstemp(dir=self.directory)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.rename(temporary, self.path(name))
        return self.path(name)
