# SPDX-License-Identifier: BSD-3-Clause
"""Small Linux guests for tests: an initramfs, a QEMU, and an agent to run commands inside.

    with Supervisor("example") as supervisor:
        vm = Vm(supervisor, "guest", prepare.machine([Nic(UserNet())]))
        vm.start()
        print(vm.run("uname -a").output)

What enters: an installed kernel package, busybox, QEMU. What leaves: Vm objects. Nothing here knows
Ringpass; the programs of the product are started by the package ringpass_stack.
"""

from . import prepare
from .agent import AgentError, GuestRebooted, GuestTimeout, Result
from .errors import TestvmError
from .qemu import Disk, Nic, UserNet, VfioUser, VhostUser
from .supervise import Supervisor
from .vm import CommandFailed, GuestEnded, Job, Vm

__all__ = ["AgentError", "CommandFailed", "Disk", "GuestEnded", "GuestRebooted", "GuestTimeout", "Job", "Nic", "Result",
           "Supervisor", "TestvmError", "UserNet", "VfioUser", "VhostUser", "Vm", "prepare"]
