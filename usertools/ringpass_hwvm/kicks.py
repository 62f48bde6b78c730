# SPDX-License-Identifier: BSD-3-Clause
"""What the hardware has seen: QEMU writes one line for each kick that reaches one of its devices."""

import collections
import os
import re

EVENTS = ("virtio_queue_notify", "virtio_set_status")
STATUS = re.compile(r"virtio_set_status vdev (0x[0-9a-f]+) val (\d+)")
KICK = re.compile(r"virtio_queue_notify vdev (0x[0-9a-f]+) n (\d+) ")


class Trace:
    """QEMU's trace file. It names devices by their addresses in QEMU's memory."""

    def __init__(self, path):
        self.path = path

    def arguments(self):
        return [word for event in EVENTS for word in ("-trace", event)] + ["-D", self.path]

    def size(self):
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def _text(self, start=0):
        if not os.path.exists(self.path):
            return ""
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")

    def whose_status(self, start):
        """@return the device whose status was written since the file had that size, or None."""
        found = STATUS.search(self._text(start))
        return found and found.group(1)

    def statuses(self, device):
        """@return what was written to its device status, oldest first."""
        return [int(value) for one, value in STATUS.findall(self._text()) if one == device]

    def kicks(self, device):
        """@return {queue: number}."""
        counted = collections.Counter()
        for one, queue in KICK.findall(self._text()):
            if one == device:
                counted[int(queue)] += 1
        return dict(counted)
