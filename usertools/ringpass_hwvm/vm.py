# SPDX-License-Identifier: BSD-3-Clause
"""The hardware VM: an emulated machine with an IOMMU, virtio functions behind it, and this machine's programs in it."""

import functools
import os

from ringpass_stack.programs import Control
from ringpass_testvm import Vm, initramfs, kernel, qemu
from ringpass_testvm.agent import Agent
from ringpass_testvm.cache import Cache
from ringpass_testvm.errors import TestvmError
from ringpass_testvm.supervise import wait_until
from ringpass_testvm.vm import BOOT_SECONDS, COMMAND_SECONDS, UNIX_PATH_MAX, CommandFailed

from . import function, lines, wire
from .guest import NestedGuest
from .inside import Inside, in_machine
from .kicks import Trace
from .remote import RemoteSocket

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
RELAY = os.path.join(SCRIPTS, "relay.py")
MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay", "vfio_iommu_type1", "vfio_pci", "kvm_amd", "tun")
READY_SECONDS = 120
# QEMU before 8.2 changes what is at an address under an emulated CPU that is just writing there. While one CPU switches
# a PCI device on or off, as VFIO does all the time, another one's write to its interrupt controller is lost, or goes to
# another device: a CPU that takes no interrupt any more, a reset, a QEMU that dies. A single CPU cannot race itself.
CPUS = 1
LINES_PER_GUEST = 2


class _Outer(Vm):
    """The emulated machine. What it is connected to is there before it, each time that it starts."""

    def __init__(self, supervisor, name, machine, before_launch):
        super().__init__(supervisor, name, machine)
        self._before_launch = before_launch

    def launch(self):
        self._before_launch()
        super().launch()


class HardwareVm:
    """Files go to the supervisor's directory. Creates nothing until start()."""

    def __init__(self, supervisor, functions, store=None, memory_mib=1024, cpus=CPUS, guests=1, iommu=True, trace=True,
                 build=None, name="hardware"):
        """functions: of Function. guests: so many nested guests at the same time. iommu: False for a machine without
        one. trace: count kicks. cpus: of the machine; see CPUS. build: a ringpass_stack Build, for ringpassd."""
        if len(functions) > function.FUNCTIONS_MAX:
            raise TestvmError(f"{len(functions)} functions: expected at most {function.FUNCTIONS_MAX}")
        self.supervisor = supervisor
        self.functions = list(functions)
        self.build = build
        self.ringpassd = None
        self._relay = None
        self.users = {}  # of the lines
        self.rpc = "/run/ringpass-rpc.sock"
        self._store = store or Cache()
        self._name = name
        self._trace = Trace(supervisor.path(f"{name}.trace")) if trace else None
        self._devices = {}
        self._sysfs = []
        self._numbers = 0
        self._guests = guests
        self._agents, self._monitors, self._remote = [], [], None
        places = function.places(self.functions)
        self._places = [place.sysfs for place in places]
        self.vm = _Outer(supervisor, name, self._machine(memory_mib, cpus, iommu), self._before_launch)
        supervisor.on_close(self._close_lines)

    def _socket(self, what):
        path = self.supervisor.path(f"{self._name}-{what}.sock")
        if len(path) > UNIX_PATH_MAX:
            raise TestvmError(f"{path}: too long for a Unix socket, use a shorter run directory")
        return path

    def _line_sockets(self):
        """Two for each nested guest, and one for ringpassd's RPC."""
        return [self._socket(f"line{number}") for number in range(LINES_PER_GUEST * self._guests + 1)]

    def _machine(self, memory_mib, cpus, iommu):
        found = kernel.newest()
        scripts = [os.path.join(SCRIPTS, script) for script in ("early", "mount-root")]
        archive = initramfs.build(self._store, found, MODULES, scripts=scripts)
        extra = ["-device", "intel-iommu,intremap=on"] if iommu else []
        extra += ["-chardev", f"socket,id=root,path={self._socket('root')}",
                  "-device", "vhost-user-fs-pci,chardev=root,tag=host"]
        extra += lines.arguments(self._line_sockets())
        extra += function.arguments(self.functions)
        if self._trace:
            extra += self._trace.arguments()
        ours = [place for place, one in zip(self._places, self.functions) if one.driver == "vfio-pci"]
        return qemu.Machine(found.image, archive, "tcg", memory_mib=memory_mib, cpus=cpus, extra=extra, starts_again=False,
                            kernel_arguments=f"ringpass.vfio={','.join(ours)}" if ours else "")

    def _before_launch(self):
        self._close_lines()
        *for_guests, for_rpc = self._line_sockets()
        self._remote = RemoteSocket(self._socket("rpc"), for_rpc)
        for number, path in enumerate(for_guests):
            if number % LINES_PER_GUEST == 0:
                self._agents.append(Agent(path, functools.partial(self._require_guest, number)))
            else:
                self._monitors.append(lines.MonitorLine(path))
        if not os.access(VIRTIOFSD, os.X_OK):
            raise TestvmError(f"{VIRTIOFSD}: not there; install qemu-system-common")
        path = self._socket("root")
        if os.path.exists(path):
            os.unlink(path)
        process = self.supervisor.start(f"{self._name}-root", [
            VIRTIOFSD, f"--socket-path={path}", "-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always"])
        wait_until(lambda: os.path.exists(path), BOOT_SECONDS, "virtiofsd", process.require_alive)

    def _close_lines(self):
        for one in (*self._agents, *self._monitors, *([self._remote] if self._remote else [])):
            one.close()
        self._agents, self._monitors, self._remote = [], [], None

    def require_alive(self):
        self.vm.require_alive()

    def _require_guest(self, number):
        self.require_alive()
        if number in self.users:
            self.users[number].require_alive()

    def start(self, timeout=BOOT_SECONDS):
        """Until it has booted, its functions are bound, and this machine's root is there."""
        self.vm.start(timeout)
        self.vm.run("/mount-root", BOOT_SECONDS)
        wire.connect(self.functions)
        found = self.vm.run("".join(f"readlink -f /sys/bus/pci/devices/{place}\n" for place in self._places))
        self._sysfs = found.output.split()
        for index in range(len(self.functions)):
            self._recognise(index)
        return self

    def _recognise(self, index):
        """Which device of the trace is this function? The one whose status changes when it loses the bus."""
        if not self._trace:
            return
        path = f"{self.sysfs(index)}/config"
        size = self._trace.size()
        self.vm.run(f"printf '\\0\\0' | dd of={path} bs=2 seek=2 count=1 conv=notrunc 2>/dev/null")
        self._devices[index] = wait_until(lambda: self._trace.whose_status(size), COMMAND_SECONDS,
                                          f"function {index} in QEMU's trace", self.require_alive)

    def sysfs(self, index):
        """The directory of a function in /sys."""
        return self._sysfs[index]

    def address(self, index):
        """@return "0000:00:10.0"."""
        return os.path.basename(self.sysfs(index))

    def group(self, index):
        """@return the number of its IOMMU group, or None without an IOMMU."""
        text = self.vm.run(f"readlink {self.sysfs(index)}/iommu_group", check=False).output.strip()
        return int(os.path.basename(text)) if text else None

    def driver(self, index):
        """@return the name of the driver that is bound to it, or None."""
        text = self.vm.run(f"readlink {self.sysfs(index)}/driver", check=False).output.strip()
        return os.path.basename(text) or None

    def bind(self, index, driver="vfio-pci"):
        """Have a driver bound to it; empty: none. @return its PCI address."""
        path, address = self.sysfs(index), self.address(index)
        self.vm.run(f"[ ! -e {path}/driver ] || echo {address} >{path}/driver/unbind")
        if driver:
            self.vm.run(f"echo {driver} >{path}/driver_override && echo {address} >/sys/bus/pci/drivers_probe")
            if self.driver(index) != driver:
                raise TestvmError(f"{address}: {driver} does not take it: "
                                  f"{self.vm.run('dmesg | tail -n 5').output.strip()}")
        return address

    def run(self, command, timeout=COMMAND_SECONDS, check=True):
        """A shell command in the VM, with this machine's root. @return Result."""
        result = self.vm.run(in_machine(command), timeout, check=False)
        if check and result.status:
            raise CommandFailed(command, result)
        return result

    def write(self, path, text):
        """A file in the VM."""
        self.vm.run(f"cat >{path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE")

    def spawn(self, name, command):
        """A program of this machine in the VM. @return Inside."""
        self._numbers += 1
        return Inside(self.vm, f"{name}-{self._numbers}", command)

    def start_ringpassd(self, config_text, ready=True):
        """ready: wait until it says so. @return Inside."""
        if not self._relay:
            self._relay = self.spawn("relay", f"exec /usr/bin/python3 {RELAY} "
                                              f"{lines.device(LINES_PER_GUEST * self._guests)} {self.rpc}")
        self.write("/run/ringpassd.conf", config_text)
        self.ringpassd = self.spawn("ringpassd", f"ulimit -l unlimited; exec {self.build.program('ringpassd')} "
                                                 f"--config /run/ringpassd.conf --rpc {self.rpc}")
        if ready:
            self.ringpassd.wait_for_line("ringpassd: ready", READY_SECONDS)
        return self.ringpassd

    @property
    def control(self):
        """@return ringpass_stack's Control, of the ringpassd in there."""
        return Control(self.build, self._remote.path, self.require_alive)

    def ctl(self, *arguments):
        """ringpass-ctl. @return what it prints, read as JSON."""
        return self.control.ask(*arguments)

    def guest(self, nics=(), number=0, memory_mib=192, cpus=1, **fields):
        """@return NestedGuest, not started. number: which of the VM's places for guests. fields: of qemu.Machine."""
        found = kernel.newest()
        archive = initramfs.build(self._store, found, kernel.DEFAULT_MODULES)
        machine = qemu.Machine(found.image, archive, "kvm", nics=list(nics), memory_mib=memory_mib, cpus=cpus,
                               **{"program": "qemu-system-x86_64", **fields})
        return NestedGuest(self, f"guest{number}", machine, LINES_PER_GUEST * number, self._agents[number],
                           self._monitors[number])

    def start_guest(self, nics=(), **options):
        """As guest(), and until it has booted."""
        one = self.guest(nics, **options)
        one.start()
        return one

    def kicks(self, index=0):
        """How often the hardware was kicked. @return {queue: number} of a function, since the VM was started."""
        return self._trace.kicks(self._devices[index])

    def statuses(self, index=0):
        """What its drivers wrote to a function's device status (virtio 1.2, 2.1), since the VM was started."""
        return self._trace.statuses(self._devices[index])

    def stop(self):
        self.vm.stop()
