# SPDX-License-Identifier: BSD-3-Clause
"""A running guest: start, run commands, reboot, stop."""

import base64
import itertools
import os

from . import supervise
from .agent import Agent, AgentError, GuestRebooted
from .errors import TestvmError
from .qmp import Qmp

# An emulated guest needs two to four seconds, several at once on a loaded machine much longer.
BOOT_SECONDS = 60
COMMAND_SECONDS = 30
# The first thing that guest/init prints.
INIT_LINE = "init: loading"
# The first thing that the kernel prints.
KERNEL_LINE = "] Linux version "
# A panic has its reason first, and then a page of registers and callers.
CONSOLE_LINES = 60
UNIX_PATH_MAX = 107


class CommandFailed(TestvmError):
    """A command in the guest ended with another status than zero."""

    def __init__(self, command, result):
        super().__init__(f"in the guest: {command}: status {result.status}: {result.output.strip()[-2000:]}")
        self.result = result


class GuestEnded(TestvmError):
    """The guest's QEMU has ended, and nobody had asked for it."""


class Job:
    """A script that goes on in the guest while other commands run."""

    def __init__(self, vm, directory):
        self._vm = vm
        self.directory = directory

    def status(self):
        """Exit status, or None while it runs."""
        text = self._vm.run(f"cat {self.directory}/status 2>/dev/null", check=False).output
        return int(text) if text.strip() else None

    def output(self):
        return self._vm.run(f"cat {self.directory}/output").output

    def signal(self, name):
        """To the script and all that it has started."""
        self._vm.run(f"kill -{name} -$(cat {self.directory}/pid)", check=False)

    def wait(self, timeout):
        """@return status."""
        supervise.wait_until(lambda: self.status() is not None, timeout, f"{self._vm.name}: job {self.directory}")
        return self.status()


class Vm:
    """One guest in its own QEMU. Files go to the supervisor's directory: NAME-console.log, NAME.log (QEMU)."""

    def __init__(self, supervisor, name, machine):
        """machine: a qemu.Machine, as prepare.machine() makes it."""
        self.name = name
        self.machine = machine
        self._supervisor = supervisor
        self._console_log = supervisor.path(f"{name}-console.log")
        self._process = None
        self._agent = None
        self._boot = None  # the one that was waited for
        self._job_numbers = itertools.count(1)
        supervisor.on_close(self._forget)

    @property
    def pid(self):
        return self._process.pid

    @property
    def boot_id(self):
        return self._agent.boot_id

    @property
    def release(self):
        return self._agent.release

    @property
    def boot_count(self):
        return self._agent.boot_count

    def _socket_path(self, kind):
        path = self._supervisor.path(f"{self.name}-{kind}.sock")
        if len(path) > UNIX_PATH_MAX:
            raise TestvmError(f"{path}: too long for a Unix socket, use a shorter run directory")
        return path

    def require_alive(self):
        """@raises GuestEnded"""
        if not self._process:
            return
        try:
            self._process.require_alive()
        except TestvmError as error:
            why = ("" if self.machine.starts_again or self._process.poll() else
                   " (its kernel has panicked or reset the machine, or it was powered off)")
            raise GuestEnded(f"{error}{why}; end of the console:{self._console_end()}") from error

    def log(self):
        """What QEMU has printed since it was started, also when it has ended."""
        return self._process.log()

    def launch(self):
        """Start QEMU and return at once: several guests can boot at the same time."""
        agent_socket = self._socket_path("agent")
        self._process = None
        self._boot = None
        self._agent = Agent(agent_socket, self.require_alive)
        command = self.machine.command(self._console_log, agent_socket, self._socket_path("qmp"))
        self._process = self._supervisor.start(self.name, command)

    def _console_end(self):
        """For a message. Of a guest that has started again by itself: where the console of its former boot ended."""
        try:
            with open(self._console_log, encoding="utf-8", errors="replace") as log:
                lines = log.read().splitlines()
        except OSError:
            return ""
        starts = [number for number, line in enumerate(lines) if KERNEL_LINE in line]
        if self._boot and len(starts) > 1 and self._agent and self._agent.boot_id != self._boot:
            lines = lines[:starts[-1]]
        return "".join(f"\n    {line}" for line in lines[-CONSOLE_LINES:])

    def _reached_init(self):
        with open(self._console_log, encoding="utf-8", errors="replace") as log:
            return INIT_LINE in log.read()

    def wait_boot(self, timeout=BOOT_SECONDS, boots=1, again=True):
        """again: start once more when an emulated kernel stops before its first process, as it does once in some
        hundred boots on a loaded machine. No driver was loaded by then, so this hides nothing of what is tested."""
        try:
            self._agent.wait_boot(boots, timeout)
            self._boot = self._agent.boot_id
        except AgentError as error:
            if again and boots == 1 and not self._reached_init():
                print(f"{self.name}: the kernel stopped before its first process; starting it once more", flush=True)
                self.kill()
                self.launch()
                self.wait_boot(timeout, boots, again=False)
                return
            raise AgentError(f"{self.name}: {error}; end of the console:{self._console_end()}") from error

    def start(self, timeout=BOOT_SECONDS):
        self.launch()
        self.wait_boot(timeout)

    def run(self, command, timeout=COMMAND_SECONDS, check=True):
        """Run a shell script in the guest. @return Result. @raises CommandFailed, GuestTimeout, GuestRebooted."""
        self._require_same_boot(command)
        try:
            result = self._agent.run(command, timeout)
        except GuestRebooted:
            self._require_same_boot(command)
            raise
        if check and result.status:
            raise CommandFailed(command, result)
        return result

    def _require_same_boot(self, command):
        """Whoever goes on after a boot that nobody asked for finds nothing of what was there before."""
        if self._boot and self._agent.boot_id != self._boot:
            raise GuestRebooted(f"{self.name}: {command}: the guest has booted again, unasked; end of its former console:"
                                f"{self._console_end()}")

    @staticmethod
    def run_together(vms, command, timeout=COMMAND_SECONDS):
        """Run a shell script in several guests at once. @raises as run() does, for the first that fails."""
        tokens = [vm._agent.send(command, timeout) for vm in vms]
        for vm, token in zip(vms, tokens):
            result = vm._agent.finish(token, command, timeout)
            if result.status:
                raise CommandFailed(command, result)

    def spawn(self, command):
        """Start a shell script in the guest that goes on by itself. @return Job."""
        directory = f"/run/job-{self.name}-{next(self._job_numbers)}"  # a guest may have been another Vm's before
        script = base64.b64encode(command.encode()).decode()
        body = f"echo $$ >{directory}/pid; sh {directory}/script >{directory}/output 2>&1; echo $? >{directory}/status"
        # a session of its own, so that signal() reaches all of it and no terminal signal does
        self.run(f"mkdir {directory} && echo {script} | base64 -d >{directory}/script && : >{directory}/output\n"
                 f"setsid sh -c '{body}' </dev/null >/dev/null 2>&1 &\n"
                 f"while [ ! -s {directory}/pid ]; do usleep 1000; done")
        return Job(self, directory)

    def set_address(self, index, address):
        """Give eth<index> an address with prefix length, and up."""
        self.run(f"ip addr add {address} dev eth{index} && ip link set eth{index} up")

    def reboot(self, timeout=BOOT_SECONDS):
        """A real reboot, by the guest itself. Returns when the agent of the new boot has said hello."""
        boots = self._agent.boot_count + 1
        self._agent.send("reboot -f", timeout)
        self.wait_boot(timeout, boots)

    @property
    def identity(self):
        """Of the guest, for take_over()."""
        return self._agent.identity

    def take_over(self, identity):
        """Talk to the guest of another Vm, which came to this one's QEMU (launched with -incoming)."""
        self._agent.take_over(identity)

    def qmp(self):
        """@return Qmp, to be closed by the caller."""
        return Qmp(self._socket_path("qmp"))

    def kill(self):
        """As a crash of the VMM would."""
        self._process.kill()
        self._forget()

    def wait_end(self, timeout=COMMAND_SECONDS):
        """Until QEMU has ended by itself, as after QMP's quit. @return its exit status."""
        status = self._process.wait(timeout)
        self._forget()
        return status

    def stop(self):
        """Power off, from the outside. @return QEMU's exit status."""
        status = self._process.stop() if self._process else 0
        self._forget()
        return status

    def _forget(self):
        if self._agent:
            self._agent.close()
            self._agent = None
        for kind in ("agent", "qmp"):
            if os.path.exists(self._socket_path(kind)):
                os.unlink(self._socket_path(kind))
