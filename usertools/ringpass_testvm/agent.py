# SPDX-License-Identifier: BSD-3-Clause
"""The host's end of the guest's agent. The protocol is described in guest/agent."""

import base64
import os
import secrets
import select
import socket
import time

from .errors import TestvmError

# A loaded machine with an emulated guest: the guest's own limit is what counts, this only catches a dead one.
ANSWER_SECONDS = 30
END_SECONDS = 10
LINE_BYTES_MAX = 4096
OUTPUT_BYTES_MAX = 64 << 20
# Status of a script that busybox' timeout ended, by SIGTERM or by SIGKILL.
ENDED_BY_TIMEOUT = (143, 137)


class AgentError(TestvmError):
    """The agent does not answer as it should."""


class GuestTimeout(AgentError):
    """The command took longer than it may."""


class GuestRebooted(AgentError):
    """The guest has started again while an answer was awaited."""


class Result:
    """What a command in the guest has left: status and output (standard output and error)."""

    def __init__(self, status, output):
        self.status = status
        self.output = output

    def __repr__(self):
        return f"Result(status={self.status}, output={self.output!r})"


class Agent:
    """Owns the listening socket, which exists before QEMU, and the connection from QEMU."""

    def __init__(self, path, require_alive):
        """require_alive() raises when the guest can no longer answer."""
        self._require_alive = require_alive
        self._buffer = b""
        self._sent = 0
        self._connection = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._path = path
        self._listener.bind(path)
        self._listener.listen(1)
        self.boot_id = None
        self.boot_count = 0
        self.release = None

    def close(self):
        for one in (self._connection, self._listener):
            if one:
                one.close()
        self._connection = None
        if os.path.exists(self._path):
            os.unlink(self._path)

    def _wait_readable(self, one, end, what):
        while not select.select([one], [], [], 0.1)[0]:
            self._require_alive()
            if time.monotonic() > end:
                raise AgentError(f"{what}: no answer in time")

    def _fill(self, end, what):
        if not self._connection:
            self._wait_readable(self._listener, end, what)
            self._connection, _ = self._listener.accept()
        self._wait_readable(self._connection, end, what)
        try:
            data = self._connection.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._fail_closed(what)
        self._buffer += data

    def _fail_closed(self, what):
        # QEMU closes first, and ends when it has given all its memory back: how it ended says more.
        end = time.monotonic() + END_SECONDS
        while time.monotonic() < end:
            self._require_alive()
            time.sleep(0.1)
        raise AgentError(f"{what}: connection closed")

    def _line(self, end, what):
        while b"\n" not in self._buffer:
            if len(self._buffer) > LINE_BYTES_MAX:
                raise AgentError(f"{what}: the answer is not a line: {self._buffer[:80]!r}")
            self._fill(end, what)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def _bytes(self, count, end, what):
        while len(self._buffer) < count:
            self._fill(end, what)
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data.decode(errors="replace")

    def _note_hello(self, words):
        if len(words) == 3 and words[1] != self.boot_id:
            _, self.boot_id, self.release = words
            self.boot_count += 1
            return True
        return False

    def wait_boot(self, boots, timeout):
        """Until the guest has said hello in its boot number boots (1 is the first)."""
        end = time.monotonic() + timeout
        while self.boot_count < boots:
            words = self._line(end, f"boot {boots}").split()
            if words and words[0] == "@hello":
                self._note_hello(words)

    @property
    def identity(self):
        """Of the guest, for take_over()."""
        return self.boot_id, self.boot_count, self.release

    def take_over(self, identity):
        """A guest that another agent has talked to came to this end, and says no hello again."""
        self.boot_id, self.boot_count, self.release = identity
        if not self._connection:
            self._wait_readable(self._listener, time.monotonic() + ANSWER_SECONDS, "QEMU's end")
            self._connection, _ = self._listener.accept()

    def send(self, script, timeout):
        """Hand over a script. @return the token of its answer."""
        self._sent = time.monotonic()
        token = secrets.token_hex(16)
        text = base64.b64encode(script.encode()).decode()
        try:
            self._connection.sendall(f"@run {token} {timeout} {text}\n".encode())
        except ConnectionError:
            self._fail_closed(script)
        return token

    def run(self, script, timeout):
        """Run a shell script in the guest. timeout in whole seconds. @return Result."""
        return self.finish(self.send(script, timeout), script, timeout)

    def finish(self, token, script, timeout):
        """Wait for the answer to what was sent. @return Result."""
        end = time.monotonic() + timeout + ANSWER_SECONDS
        while True:
            words = self._line(end, script).split()
            if words and words[0] == "@hello" and self._note_hello(words):
                raise GuestRebooted(f"{script}: the guest has booted again meanwhile")
            if len(words) == 4 and words[:2] == ["@end", token]:
                break
        status, count = int(words[2]), int(words[3])
        if count > OUTPUT_BYTES_MAX:
            raise AgentError(f"{script}: {count} bytes of output")
        result = Result(status, self._bytes(count, end, script))
        if status in ENDED_BY_TIMEOUT and time.monotonic() - self._sent >= timeout:
            raise GuestTimeout(f"{script}: still running after {timeout} s; so far: {result.output[-500:]}")
        return result
