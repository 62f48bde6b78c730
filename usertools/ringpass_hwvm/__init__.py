# SPDX-License-Identifier: BSD-3-Clause
"""Real VFIO without hardware: an emulated machine with an IOMMU, and virtio-net functions behind it.

    with Supervisor("example") as supervisor:
        host = HardwareVm(supervisor, [Function()]).start()
        print(host.address(0), host.group(0), host.run("ls -l /dev/vfio").output)
        guest = host.start_guest()
        print(guest.run("uname -a").output)

The machine is emulated (TCG); its processor has the extension for virtual machines, so that KVM works in it. Programs
see the root file system of the machine that started it: any program that is installed or built here runs in there.
"""

from .function import Function
from .guest import NestedGuest
from .inside import Inside
from .vm import HardwareVm

__all__ = ["Function", "HardwareVm", "Inside", "NestedGuest"]
