# SPDX-License-Identifier: BSD-3-Clause
"""The command ringpass-devbind."""

import argparse
import json
import os
import sys

from . import change, inuse
from .errors import DevbindError
from .sysfs import VFIO_DRIVER, Sysfs


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else here."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser():
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON instead of a table")
    common.add_argument("--sysfs", metavar="DIR", default=argparse.SUPPRESS, help="instead of /sys, for tests")
    root = Parser(prog="ringpass-devbind", parents=[common],
                  description="Which driver a PCI function has, and giving it to vfio-pci and back.")
    commands = root.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
    show = commands.add_parser("show", parents=[common],
                               help="network functions, virtio, and those of vfio-pci; or those named")
    show.add_argument("--all", action="store_true", help="every PCI function")
    show.add_argument("function", nargs="*", metavar="FUNCTION")
    for name, text in ("bind", "to vfio-pci"), ("unbind", "from vfio-pci, to the driver that the kernel chooses"):
        command = commands.add_parser(name, parents=[common], help=text)
        command.add_argument("--force", action="store_true",
                             help="also what is in use" if name == "unbind" else
                             "also what is in use, no network function, or legacy-only")
        command.add_argument("function", nargs="+", metavar="FUNCTION",
                             help="a PCI address (0000:00:04.0, 00:04.0) or a network interface")
    return root


def print_table(titles, rows):
    cells = [titles, *[["-" if cell in ("", None) else str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def print_devices(devices):
    print_table(["FUNCTION", "IDS", "VIRTIO", "DRIVER", "GROUP", "SHARED-WITH", "NUMA", "INTERFACE", "IN-USE"],
                [[device.address, device.ids, device.virtio, device.driver, device.group,
                  " ".join(device.group_members), device.numa_node, " ".join(device.interfaces), reason]
                 for device, reason in devices])


def report(sysfs, addresses, as_json):
    devices = [sysfs.device(address) for address in addresses]
    devices = [(device, inuse.why_used(sysfs, device)) for device in devices]
    if as_json:
        print(json.dumps({"devices": [{**device.as_json(), "in_use": reason} for device, reason in devices]}))
    else:
        print_devices(devices)


def chosen(sysfs, given):
    """@return addresses, each once, in the order given."""
    return list(dict.fromkeys(sysfs.find(text) for text in given.function))


def run_show(sysfs, given):
    addresses = chosen(sysfs, given)
    if not addresses:
        devices = [sysfs.device(address) for address in sysfs.addresses()]
        addresses = [device.address for device in devices
                     if given.all or device.is_network or device.virtio or device.driver == VFIO_DRIVER]
    report(sysfs, addresses, given.json)


def run_bind(sysfs, given):
    devices = [sysfs.device(address) for address in chosen(sysfs, given)]
    change.judge_bind(sysfs, [device for device in devices if device.driver != VFIO_DRIVER], given.force)
    change.bind_all(sysfs, devices)
    report(sysfs, [device.address for device in devices], given.json)


def run_unbind(sysfs, given):
    devices = [sysfs.device(address) for address in chosen(sysfs, given)]
    change.judge_unbind(devices, given.force)
    for device in devices:
        change.unbind(sysfs, device)
    report(sysfs, [device.address for device in devices], given.json)


def main(arguments=None, make_sysfs=Sysfs):
    given = parser().parse_args(arguments, argparse.Namespace(json=False, sysfs="/sys"))
    run = {"show": run_show, "bind": run_bind, "unbind": run_unbind}[given.action]
    try:
        run(make_sysfs(given.sysfs), given)
        sys.stdout.flush()
    except DevbindError as error:
        print(f"ringpass-devbind: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0
