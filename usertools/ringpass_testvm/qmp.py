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
        self._events = []
        try:
            self._socket.connect(path)
            self._file = self._socket.makefile("r", encoding="utf-8")
            self._file.readline()  # the greeting
            self.execute("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise TestvmError(f"QMP: {error}") from error

    def execute(self, command, **arguments):
        """@return what the command returns. Events in between are kept for wait_event()."""
        text = json.dumps({"execute": command, "arguments": arguments})
        try:
            self._socket.sendall(text.encode() + b"\n")
            for line in self._file:
                answer = json.loads(line)
                if "error" in answer:
                    raise TestvmError(f"QMP {command}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
                self._events.append(answer)
        except OSError as error:
            raise TestvmError(f"QMP {command}: {error}") from error
        raise TestvmError(f"QMP {command}: connection closed")

    def wait_event(self, name, **data):
        """Until QEMU has told of an event that has these data, since the connection was made. @return its data."""
        try:
            while True:
                for event in self._events:
                    if event["event"] == name and data.items() <= event.get("data", {}).items():
                        self._events.remove(event)
                        return event.get("data", {})
                line = self._file.readline()
                if not line:
                    raise TestvmError(f"QMP event {name}: connection closed")
                self._events.append(json.loads(line))
        except TimeoutError as error:
            raise TestvmError(f"QMP event {name} {data}: not within {ANSWER_SECONDS} s") from error

    def close(self):
        self._file.close()
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
