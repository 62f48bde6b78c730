# SPDX-License-Identifier: BSD-3-Clause
"""The command ringpass-hwvm."""

import argparse
import sys

from ringpass_testvm import Supervisor, TestvmError, stopping
from ringpass_testvm.cache import Cache

from .function import Function
from .vm import HardwareVm


def _parser():
    parser = argparse.ArgumentParser(prog="ringpass-hwvm", description="An emulated machine with virtio-net functions "
                                     "behind an IOMMU, bound to vfio-pci, with KVM and this machine's root in it.")
    parser.add_argument("--cache-dir", help="where the initramfs is kept")
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run = commands.add_parser("run", help="boot it and run commands in it, else the lines of standard input")
    run.add_argument("--functions", type=int, default=1, metavar="N")
    run.add_argument("--root-port", action="store_true", help="each function in a root port of its own")
    run.add_argument("--shared-group", action="store_true", help="all functions in one IOMMU group")
    run.add_argument("--packed", action="store_true", help="the functions offer packed rings")
    run.add_argument("--shared-doorbells", action="store_true", help="the doorbells of all queues in one page")
    run.add_argument("--no-queue-reset", action="store_true", help="no queue can be stopped alone")
    run.add_argument("--no-iommu", action="store_true", help="a machine without an IOMMU")
    run.add_argument("--memory", type=int, default=1024, metavar="MIB")
    run.add_argument("--cpus", type=int, default=2)
    run.add_argument("--run-dir", help="an existing directory for logs and sockets, which is kept")
    run.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="for each command")
    run.add_argument("command", nargs="*", metavar="COMMAND", help="a shell script; FUNCTIONS names the PCI addresses")
    return parser


def _table(host):
    lines = [("FUNCTION", "ADDRESS", "GROUP", "DRIVER")]
    for index in range(len(host.functions)):
        group = host.group(index)
        lines.append((str(index), host.address(index), "none" if group is None else str(group),
                      host.driver(index) or "none"))
    return "\n".join("  ".join(f"{word:12}" for word in line).rstrip() for line in lines)


def _session(host, options):
    """@return the status of the last command."""
    print(_table(host), flush=True)
    addresses = " ".join(host.address(index) for index in range(len(host.functions)))
    status = 0
    for command in options.command or sys.stdin:
        result = host.run(f"FUNCTIONS='{addresses}'\n{command}", options.timeout, check=False)
        sys.stdout.write(result.output)
        sys.stdout.flush()
        status = result.status
    return status


def _run(store, options):
    supervisor = Supervisor("hwvm", options.run_dir)
    functions = [Function(root_port=options.root_port, shared_group=options.shared_group, packed=options.packed,
                          page_per_vq=not options.shared_doorbells, queue_reset=not options.no_queue_reset)
                 for _ in range(options.functions)]

    def work():
        supervisor.open()
        host = HardwareVm(supervisor, functions, store, options.memory, options.cpus, iommu=not options.no_iommu)
        return _session(host.start(), options)
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
