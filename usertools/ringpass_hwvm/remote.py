# SPDX-License-Identifier: BSD-3-Clause
"""ringpassd's RPC socket in the hardware VM, as a socket of this machine: its tools need not run in there.

Requests of one line with answers of one line go through, one at a time. What a server says unasked does not.
"""

import contextlib
import os
import socket
import threading

ANSWER_SECONDS = 90


class RemoteSocket:
    """Owns a thread, which ends with close()."""

    def __init__(self, path, line_path):
        """path: of the socket to make. line_path: of the one that the line into the VM will connect to."""
        self.path = path
        self._line_path = line_path
        self._line_listener = self._listen(line_path)
        self._listener = self._listen(path)
        self._line = self._line_file = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @staticmethod
    def _listen(path):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(8)
        return listener

    def _ask(self, request):
        """@return the answer, or nothing."""
        if not self._line:
            self._line_listener.settimeout(ANSWER_SECONDS)
            self._line, _ = self._line_listener.accept()
            self._line.settimeout(ANSWER_SECONDS)
            self._line_file = self._line.makefile("rb")
        self._line.sendall(request)
        answer = self._line_file.readline()
        return answer.strip() and answer

    def _converse(self, connection):
        with connection, connection.makefile("rb") as file:
            for request in iter(file.readline, b""):
                answer = self._ask(request)
                if not answer:
                    return
                connection.sendall(answer)

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                self._converse(connection)

    def close(self):
        """May be called again."""
        for listener in (self._listener, self._line_listener):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes an accept()
            listener.close()
        if self._line:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)
        self._thread.join(ANSWER_SECONDS)
        if self._line:
            self._line_file.close()
            self._line.close()
            self._line = None
        for path in (self.path, self._line_path):
            if os.path.exists(path):
                os.unlink(path)
