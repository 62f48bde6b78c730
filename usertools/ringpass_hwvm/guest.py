# SPDX-License-Identifier: BSD-3-Clause
"""A guest in the hardware VM, under the KVM that is in there. To its user it is a Vm as any other."""

import shlex
import time

from ringpass_testvm.errors import TestvmError
from ringpass_testvm.vm import BOOT_SECONDS, Vm

from . import lines

# An emulated processor runs the nested guest, and shares itself with all else in the hardware VM.
NESTED_BOOT_SECONDS = 10 * BOOT_SECONDS
ALIVE_SECONDS = 2


class NestedGuest(Vm):
    """Its agent and its monitor talk over two lines of the hardware VM."""

    def __init__(self, host, name, machine, number, agent, monitor):
        """number: of the agent's line; the monitor's is the next one."""
        super().__init__(host.supervisor, name, machine)
        self._host = host
        self._number = number
        self._line_agent = agent
        self._monitor = monitor
        self._alive_at = 0
        self._console = f"/run/{name}-console.log"

    @property
    def pid(self):
        """In the hardware VM."""
        return self._process.pid

    def require_alive(self):
        if self._process and time.monotonic() > self._alive_at + ALIVE_SECONDS:
            self._process.require_alive()
            self._alive_at = time.monotonic()

    def _console_end(self):
        text = self._host.run(f"tail -n 20 {self._console}", check=False).output
        return "".join(f"\n    {line}" for line in text.splitlines())

    def launch(self):
        self._boot = None
        self._monitor.forget()
        self._agent = self._line_agent
        self._host.users[self._number] = self
        agent, monitor = (f"pipe,path={lines.device(self._number + offset)}" for offset in (0, 1))
        command = self.machine.command_on_lines(self._console, agent, monitor)
        self._process = self._host.spawn(self.name, "exec " + " ".join(map(shlex.quote, command)))

    def start(self, timeout=NESTED_BOOT_SECONDS):
        self.launch()
        self.wait_boot(timeout, self._line_agent.boot_count + 1)

    def wait_boot(self, timeout=NESTED_BOOT_SECONDS, boots=1, again=False):
        try:
            self._line_agent.wait_boot(boots, timeout)
            self._boot = self._line_agent.boot_id
        except TestvmError as error:
            raise TestvmError(f"{self.name}: {error}; end of the console:{self._console_end()}") from error

    def qmp(self):
        return self._monitor.qmp()

    def _forget(self):
        self._process = None
        self._agent = None
