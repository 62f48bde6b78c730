# SPDX-License-Identifier: BSD-3-Clause
"""The figures of the demo: where they come from, the table, the last line and the verdict."""

import json

COLUMNS = (("queue", "queue"), ("", "direction"), ("mode", "mode"), ("direct stores", "direct_kicks"),
           ("kicks relayed", "relayed_kicks"), ("interrupts sent", "device_interrupts"),
           ("interrupts relayed", "relayed_interrupts"), ("moves", "moves"))


class Figures:
    def __init__(self):
        self.pings_sent = 0
        self.pings_received = 0
        self.pings_in_toggles = 0
        self.pings_lost_in_toggles = 0
        self.bytes_checked = 0
        self.queue_toggles = 0
        self.guest_reboots = 0
        self.queues = []  # as ringpass-ctl showed them last

    def add_pings(self, report):
        self.pings_sent += report.sent
        self.pings_received += report.received
        self.pings_in_toggles += report.sent_in_windows
        self.pings_lost_in_toggles += report.lost_in_windows

    def total(self, key):
        return sum(queue[key] for queue in self.queues)

    def problems(self):
        """Why the demo has failed; empty when it has not."""
        found = []
        lost = self.pings_sent - self.pings_received
        if lost:
            found.append(f"{lost} pings lost while nothing was toggled")
        for queue in self.queues:
            if queue["relayed_kicks_after_map"]:
                found.append(f"queue {queue['queue']}: {queue['relayed_kicks_after_map']} kicks relayed "
                             "after the doorbell was mapped")
            if queue["relayed_interrupts"]:
                found.append(f"queue {queue['queue']}: {queue['relayed_interrupts']} interrupts relayed")
        if not self.total("direct_kicks"):
            found.append("no doorbell was rung by the guest's direct store")
        return found

    def table(self):
        """@return lines."""
        rows = [[title for title, _ in COLUMNS]]
        rows += [[str(queue[key]) for _, key in COLUMNS] for queue in self.queues]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]

    def more(self):
        """Further keys of the last line."""
        return {}

    def json(self, verdict, reason=None):
        line = {
            "demo": verdict,
            "pings_sent": self.pings_sent,
            "pings_received": self.pings_received,
            "pings_in_toggles": self.pings_in_toggles,
            "pings_lost_in_toggles": self.pings_lost_in_toggles,
            "bytes_checked": self.bytes_checked,
            "direct_kicks": self.total("direct_kicks"),
            "relayed_kicks": self.total("relayed_kicks"),
            "relayed_kicks_after_map": self.total("relayed_kicks_after_map"),
            "device_interrupts": self.total("device_interrupts"),
            "relayed_interrupts": self.total("relayed_interrupts"),
            "queue_toggles": self.queue_toggles,
            "guest_reboots": self.guest_reboots,
            **self.more(),
        }
        if reason:
            line["reason"] = reason
        return json.dumps(line)
