# SPDX-License-Identifier: BSD-3-Clause
"""The command ringpass-hwvm."""

import argparse
import os
import sys

from ringpass_stack.programs import Build
from ringpass_testvm import Nic, Supervisor, TestvmError, VhostUser, stopping
from ringpass_testvm.cache import Cache

from .function import FUNCTIONS_MAX, Function
from .vm import CPUS, HardwareVm

PORT_SOCKET = "/run/hwvm.sock"
# A command that begins with it is the nested guest's.
GUEST_PREFIX = "guest:"
COMMAND_HELP = ("a shell script, in which $FUNCTIONS names the PCI addresses; one that begins with "
                f"'{GUEST_PREFIX}' is run in the nested guest")


def _count(text):
    if not text.isdigit() or not 1 <= int(text) <= FUNCTIONS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to {FUNCTIONS_MAX}")
    return int(text)


def _add_hardware(run):
    run.add_argument("--functions", type=_count, default=1, metavar="N")
    run.add_argument("--root-port", action="store_true", help="each function in a root port, where it can be reset")
    run.add_argument("--shared-group", action="store_true", help="all functions in one IOMMU group")
    run.add_argument("--packed", action="store_true", help="the functions offer packed rings")
    run.add_argument("--shared-doorbells", action="store_true", help="the doorbells of all queues in one page")
    run.add_argument("--no-queue-reset", action="store_true", help="no queue can be stopped alone")
    run.add_argument("--no-iommu", action="store_true", help="a machine without an IOMMU")
    run.add_argument("--memory", type=int, default=1024, metavar="MIB")
    run.add_argument("--cpus", type=int, default=CPUS, help="QEMU before 8.2 may lose an interrupt with more than one")


def _parser():
    parser = argparse.ArgumentParser(prog="ringpass-hwvm", description="An emulated machine with virtio-net functions "
                                     "behind an IOMMU, bound to vfio-pci, with KVM and this machine's programs in it.")
    parser.add_argument("--cache-dir", help="where the initramfs is kept")
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run = commands.add_parser("run", help="boot it and run commands in it, else the lines of standard input")
    _add_hardware(run)
    run.add_argument("--build-dir", metavar="DIR", help="run the ringpassd of this build in it, with one port over all "
                     "functions")
    run.add_argument("--port-option", action="append", default=[], metavar="KEY=VALUE",
                     help="one more option of that port, as ringpassd's configuration has it")
    run.add_argument("--guest", action="store_true", help="a nested guest, with a card on that port")
    run.add_argument("--run-dir", help="an existing directory for logs and sockets, which is kept")
    run.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="for each command")
    run.add_argument("command", nargs="*", metavar="COMMAND", help=COMMAND_HELP)
    return parser


def _columns(lines):
    return "\n".join("  ".join(f"{word:12}" for word in line).rstrip() for line in lines)


def _table(host):
    lines = [("FUNCTION", "ADDRESS", "GROUP", "DRIVER")]
    for index in range(len(host.functions)):
        group = host.group(index)
        lines.append((str(index), host.address(index), "none" if group is None else str(group),
                      host.driver(index) or "none"))
    return _columns(lines)


def _kicks(host):
    lines = [("FUNCTION", "QUEUE", "KICKS")]
    for index in range(len(host.functions)):
        lines += [(str(index), str(queue), str(count)) for queue, count in sorted(host.kicks(index).items())]
    return _columns(lines)


def port_configuration(addresses, options):
    """ringpassd's file: one port over the functions at these addresses. options: "key=value"."""
    accelerators = ", ".join(f'"vfio,device={address}"' for address in addresses)
    more = "".join(f" {option.replace('=', ' = ', 1)};" for option in options)
    return (f'ports = (\n  {{ name = "port0"; socket = "{PORT_SOCKET}"; queue_pairs = {len(addresses)}; '
            f"accelerators = ( {accelerators} );{more} }}\n);")


def _start(host, options):
    """What the options want inside. @return (addresses of the functions, the nested guest or None)."""
    host.start()
    addresses = [host.address(index) for index in range(len(host.functions))]
    print(_table(host), flush=True)
    if host.build:
        host.start_ringpassd(port_configuration(addresses, options.port_option))
    nics = [Nic(VhostUser(PORT_SOCKET), queues=len(addresses))] if host.build else []
    return addresses, host.start_guest(nics) if options.guest else None


def _session(host, options):
    """@return the status of the last command."""
    addresses, guest = _start(host, options)
    status = 0
    for command in options.command or sys.stdin:
        if not command.startswith(GUEST_PREFIX):
            result = host.run(f"FUNCTIONS='{' '.join(addresses)}'\n{command}", options.timeout, check=False)
        elif guest:
            result = guest.run(command.removeprefix(GUEST_PREFIX), options.timeout, check=False)
        else:
            raise TestvmError(f"{command.strip()}: there is no nested guest; add --guest")
        sys.stdout.write(result.output)
        sys.stdout.flush()
        status = result.status
    print(_kicks(host), flush=True)
    return status


def _run(store, options):
    supervisor = Supervisor("hwvm", options.run_dir)
    functions = [Function(root_port=options.root_port, shared_group=options.shared_group, packed=options.packed,
                          page_per_vq=not options.shared_doorbells, queue_reset=not options.no_queue_reset)
                 for _ in range(options.functions)]
    build = Build(options.build_dir) if options.build_dir else None
    if build:
        build.program("ringpassd")

    def work():
        if os.geteuid():
            raise TestvmError("this must run as root: the machine sees this one's whole root file system")
        supervisor.open()
        return _session(HardwareVm(supervisor, functions, store, options.memory, options.cpus, int(options.guest),
                                   not options.no_iommu, build=build), options)
    return stopping.guarded(work, supervisor.close)


def main(arguments=None):
    stopping.install()
    options = _parser().parse_args(arguments)
    try:
        return _run(Cache(options.cache_dir), options)
    except TestvmError as error:
        print(f"ringpass-hwvm: {error}", file=sys.stderr)
        return 1
    except stopping.Stopped as stopped:
        return 128 + stopped.signum
