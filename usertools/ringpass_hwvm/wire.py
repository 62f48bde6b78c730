# SPDX-License-Identifier: BSD-3-Clause
"""What is behind the functions that have a tap: this machine, one network for each function.

A guest with several functions on one port has an address in each network. So both ends choose by the address which
function carries a packet to the guest, while the guest's own choice is free: an answer may come in anywhere.
"""

import contextlib

from ringpass_testvm import netns, supervise

PREFIX_LENGTH = 24
# One for all taps: a packet may be for the address behind another tap than the one it comes in by.
PEER_MAC = "52:54:00:00:01:00"
TAP_SECONDS = 30


def peer(index):
    """This machine's address behind function index."""
    return f"10.77.{index}.1"


def guest(index):
    """An address for the guest, with prefix length, that is reached through function index."""
    return f"10.77.{index}.2/{PREFIX_LENGTH}"


def _accept_from_anywhere(interface):
    # what /proc says may be read-only in a container, where the default is right anyway
    with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv4/conf/{interface}/rp_filter", "w",
                                            encoding="ascii") as file:
        file.write("0")


def connect(functions):
    """Give the taps, which QEMU has made, their addresses."""
    taps = [(index, function.tap) for index, function in enumerate(functions) if function.tap]
    for index, tap in taps:
        supervise.wait_until(lambda tap=tap: tap in netns.interfaces(), TAP_SECONDS, f"network device {tap}")
        netns.ip("link", "set", tap, "address", PEER_MAC)
        netns.set_address(tap, f"{peer(index)}/{PREFIX_LENGTH}", TAP_SECONDS)
        _accept_from_anywhere(tap)
    if taps:
        _accept_from_anywhere("all")
