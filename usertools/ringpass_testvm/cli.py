# SPDX-License-Identifier: BSD-3-Clause
"""The command ringpass-testvm."""

import argparse
import sys

from . import accel, initramfs, kernel, prepare, stopping
from .cache import Cache
from .errors import TestvmError
from .qemu import MEMORY, Nic, UserNet, VfioUser, VhostUser
from .supervise import Supervisor
from .vm import BOOT_SECONDS, Vm

NIC_HELP = ("a network card: 'vfio-user,path=SOCKET'; or 'user' or 'vhost-user,path=SOCKET', and then ',KEY=VALUE' "
            "with the keys mac, queues, page_per_vq (on, off), packed (on, off), vectors, server (on, off), reconnect "
            "(seconds)")


def _switch(text):
    if text not in ("on", "off"):
        raise ValueError("expected on or off")
    return text == "on"


def _number(text):
    if not text.isdigit():
        raise ValueError("expected a number")
    return int(text)


NIC_KEYS = {"mac": str, "queues": _number, "page_per_vq": _switch, "packed": _switch, "vectors": _number}
VHOST_KEYS = {"path": str, "server": _switch, "reconnect": _number}
# What is behind the card, its keys, and those of the card itself; a device that is passed through is its own card.
NICS = {"user": (UserNet, {}, NIC_KEYS), "vhost-user": (VhostUser, VHOST_KEYS, NIC_KEYS),
        "vfio-user": (VfioUser, {"path": str}, {})}


def parse_nic(text):
    """@return Nic or VfioUser. @raises argparse.ArgumentTypeError naming the key."""
    kind, *pairs = text.split(",")
    if kind not in NICS:
        raise argparse.ArgumentTypeError(f"{kind!r}: expected one of {', '.join(NICS)}")
    make_net, net_keys, nic_keys = NICS[kind]
    nic, net = {}, {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        values, keys = (net, net_keys) if key in net_keys else (nic, nic_keys)
        if key not in keys:
            raise argparse.ArgumentTypeError(f"{key!r}: expected one of {', '.join([*nic_keys, *net_keys])}")
        try:
            values[key] = keys[key](value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{key}={value}: {error}") from error
    if "path" in net_keys and not net.get("path"):
        raise argparse.ArgumentTypeError(f"{kind}: path=SOCKET is missing")
    return Nic(make_net(**net), **nic) if nic_keys else make_net(**net)


def _parser():
    parser = argparse.ArgumentParser(prog="ringpass-testvm", description="A small Linux guest for tests.")
    parser.add_argument("--cache-dir", help="where the initramfs and the answer of the KVM probe are kept")
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    commands.add_parser("build", help="make the initramfs; print the paths of kernel and initramfs")
    commands.add_parser("probe", help="print what guests run under: kvm or tcg")
    run = commands.add_parser("run", help="boot a guest and run commands in it, else the lines of standard input")
    run.add_argument("--nic", action="append", default=[], type=parse_nic, help=NIC_HELP)
    run.add_argument("--memory", type=int, default=512, metavar="MIB")
    run.add_argument("--memory-kind", choices=sorted(MEMORY), default="shared",
                     help="what a device process can map of it: all, nothing, or half")
    run.add_argument("--cpus", type=int, default=2)
    run.add_argument("--accel", choices=accel.CHOICES, help="do not probe")
    run.add_argument("--module", action="append", default=[], help="one more kernel module to load")
    run.add_argument("--program", action="append", default=[], metavar="NAME",
                     help="a program of this machine to take along")
    run.add_argument("--library", action="append", default=[], metavar="PATH",
                     help="a library of this machine that such a program loads by itself")
    run.add_argument("--iommu", default="", metavar="DEVICE", help="of the guest, in front of its devices, as QEMU's "
                     "-device takes it: intel-iommu,caching-mode=on or virtio-iommu-pci")
    run.add_argument("--kernel-root", default="/", metavar="DIR", help="where boot/ and lib/modules/ of its kernel are")
    run.add_argument("--kernel-arguments", default="", metavar="TEXT", help="more for its kernel's command line")
    run.add_argument("--run-dir", help="an existing directory for logs and sockets, which is kept")
    run.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="for each command")
    run.add_argument("command", nargs="*", metavar="COMMAND", help="a shell script, run in the guest")
    return parser


def _session(vm, commands, timeout):
    """@return the status of the last command."""
    status = 0
    for command in commands:
        result = vm.run(command, timeout, check=False)
        sys.stdout.write(result.output)
        sys.stdout.flush()
        status = result.status
    return status


def _modules(options):
    """An IOMMU's driver must be there before those of the devices behind it."""
    first = [name for name in options.module if "iommu" in name]
    pci, *others = kernel.DEFAULT_MODULES
    return (pci, *first, *others, *(name for name in options.module if name not in first))


def _run(store, options):
    supervisor = Supervisor("testvm", options.run_dir)

    def work():
        supervisor.open()
        machine = prepare.machine(options.nic, store, options.accel, _modules(options),
                                  programs=options.program, libraries=options.library,
                                  memory_mib=options.memory, memory=options.memory_kind, cpus=options.cpus,
                                  iommu=options.iommu, kernel_root=options.kernel_root,
                                  kernel_arguments=options.kernel_arguments)
        vm = Vm(supervisor, "guest", machine)
        vm.start(BOOT_SECONDS)
        return _session(vm, options.command or sys.stdin, options.timeout)
    return stopping.guarded(work, supervisor.close)


def main(arguments=None):
    stopping.install()
    options = _parser().parse_args(arguments)
    try:
        store = Cache(options.cache_dir)
        if options.action == "build":
            guest = kernel.newest()
            print(guest.image, initramfs.build(store, guest, kernel.DEFAULT_MODULES))
        elif options.action == "probe":
            print(accel.choose(store))
        else:
            return _run(store, options)
    except TestvmError as error:
        print(f"ringpass-testvm: {error}", file=sys.stderr)
        return 1
    except stopping.Stopped as stopped:
        return 128 + stopped.signum
    return 0
