# SPDX-License-Identifier: BSD-3-Clause
"""Whether something would miss a function: addresses, routes, bridges; a process that holds its group."""

import glob
import json
import os
import subprocess

IP_LIMIT_S = 20
LINK_LOCAL = "link"


def _ip(*arguments):
    """What ip(8) says. @raises OSError, ValueError, subprocess.SubprocessError."""
    done = subprocess.run(["ip", "-json", *arguments], capture_output=True, text=True, timeout=IP_LIMIT_S, check=True,
                          stdin=subprocess.DEVNULL)
    return json.loads(done.stdout or "[]")


def _addresses(interface):
    found = []
    for link in _ip("address", "show", "dev", interface):
        found += [f"{info['local']}/{info['prefixlen']}" for info in link.get("addr_info", [])
                  if info.get("scope") != LINK_LOCAL]
    return found


def _routes(interface):
    found = []
    for family in "-4", "-6":
        # The kernel makes these for any interface that is up.
        found += [route["dst"] for route in _ip(family, "route", "show", "dev", interface)
                  if not route["dst"].startswith(("fe80:", "ff00:", "multicast"))]
    return found


def why_interface_is_used(sysfs, interface):
    """In words; None: nobody would miss it. A doubt counts as a use."""
    master = os.path.join(sysfs.root, "class", "net", interface, "master")
    if os.path.islink(master):
        return f"{interface} is part of {os.path.basename(os.readlink(master))}"
    try:
        addresses, routes = _addresses(interface), _routes(interface)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, subprocess.SubprocessError) as error:
        return f"{interface} may be in use: ip(8) does not say ({error})"
    if addresses:
        return f"{interface} has the address {addresses[0]}"
    return f"{interface} has a route to {routes[0]}" if routes else None


def why_used(sysfs, device):
    """In words; None: nobody would miss it."""
    for interface in device.interfaces:
        reason = why_interface_is_used(sysfs, interface)
        if reason is not None:
            return reason
    return None


def holder_of(group, proc="/proc", dev="/dev"):
    """(pid, name) of a process that has the group open; None."""
    wanted = os.path.join(dev, "vfio", group)
    for path in glob.iglob(os.path.join(proc, "[0-9]*", "fd", "*")):
        try:
            if os.readlink(path) != wanted:
                continue
            pid = path[len(proc) + 1:].split(os.sep)[0]
            with open(os.path.join(proc, pid, "comm"), encoding="utf-8", errors="replace") as file:
                return int(pid), file.read().strip()
        except OSError:
            continue  # it ended, or is not ours to look at
    return None
