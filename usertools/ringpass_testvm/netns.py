# SPDX-License-Identifier: BSD-3-Clause
"""A network namespace of our own, without a name: it is gone with the last process in it.

Addresses and TAP names can therefore not clash with the machine's or with another run's, and there is
nothing to remove afterwards.
"""

import ctypes
import json
import os

from . import supervise
from .errors import TestvmError

CLONE_NEWNET = 0x40000000
COMMAND_SECONDS = 30
_libc = ctypes.CDLL(None, use_errno=True)


def enter_private():
    """Move this process into a new network namespace; later children inherit it. Needs root, and no other threads."""
    if _libc.unshare(CLONE_NEWNET):
        raise TestvmError(f"a private network namespace: {os.strerror(ctypes.get_errno())} (this must run as root)")
    ip("link", "set", "lo", "up")


def ip(*arguments):
    return supervise.run(["ip", *arguments], COMMAND_SECONDS)


def interfaces():
    """Names of the network devices of this namespace."""
    return {link["ifname"] for link in json.loads(ip("-json", "link", "show"))}


def set_address(interface, address, timeout):
    """Wait for an interface to appear, and give it an address with prefix length."""
    supervise.wait_until(lambda: interface in interfaces(), timeout, f"network device {interface}")
    ip("address", "add", address, "dev", interface)
    ip("link", "set", interface, "up")
