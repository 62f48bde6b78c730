# SPDX-License-Identifier: BSD-3-Clause
"""The few QMP commands that tests need."""

import json
import socket

from .errors import TestvmError

ANSWER_SECONDS = 30


class Qmp:
    """One connection to a running QEMU. A context manager."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(path)
            self._file = self._socket.makefile("r", encoding="utf-8")
            self._file.readline()  # the greeting
            self.execute("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise TestvmError(f"QMP: {error}") from error

    def execute(self, command, **arguments):
        """@return what the command returns. Events in between are dropped."""
        text = json.dumps({"execute": command, "arguments": arguments})
        self._socket.sendall(text.encode() + b"\n")
        for line in self._file:
            answer = json.loads(line)
            if "error" in answer:
                raise TestvmError(f"QMP {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise TestvmError(f"QMP {command}: connection closed")

    def close(self):
        self._file.close()
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
