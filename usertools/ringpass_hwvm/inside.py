# SPDX-License-Identifier: BSD-3-Clause
"""A program of this machine that runs in the hardware VM."""

import shlex

from ringpass_testvm import supervise
from ringpass_testvm.errors import TestvmError

START_SECONDS = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def in_machine(command):
    """A script for the VM's shell that becomes a shell of the machine's root, with that command."""
    return f"exec chroot /machine /usr/bin/env -i PATH={PATH} HOME=/root LANG=C.UTF-8 /bin/sh -c {shlex.quote(command)}"


class Inside:
    """A running program, which is asked for by short commands. Its output is in a file of the VM."""

    def __init__(self, vm, name, command):
        """vm: the VM itself. command: for the machine's shell; it should exec what is to be signalled."""
        self.name = name
        self._vm = vm
        pid_file = f"/run/{name}.pid"
        self._job = vm.spawn(f"echo $$ >{pid_file}\n{in_machine(command)}")
        # What cat says of a file that is not there yet is no number.
        self.pid = int(supervise.wait_until(lambda: vm.run(f"cat {pid_file} 2>/dev/null", check=False).output.strip(),
                                            START_SECONDS, name))

    def poll(self):
        """Exit status as a shell has it, or None while it runs."""
        return self._job.status()

    def log(self):
        return self._job.output()

    def require_alive(self):
        status = self.poll()
        if status is not None:
            text = "".join(f"\n    {line}" for line in self.log().splitlines()[-20:])
            raise TestvmError(f"{self.name}: ended with status {status}{text}")

    def wait_for_line(self, text, timeout):
        """Until it has printed a line that contains text. @return that line."""
        def found():
            return next((line for line in self.log().split("\n")[:-1] if text in line), None)
        return supervise.wait_until(found, timeout, f"{self.name}: line {text!r}", self.require_alive)

    def signal(self, name):
        self._vm.run(f"kill -{name} {self.pid}", check=False)

    def wait(self, timeout):
        """@return exit status."""
        supervise.wait_until(lambda: self.poll() is not None, timeout, f"{self.name}: end")
        return self.poll()

    def kill(self):
        """The hard way, as a crash would."""
        self.signal("KILL")
        return self.wait(30)

    def stop(self, timeout=30):
        self.signal("TERM")
        return self.wait(timeout)
