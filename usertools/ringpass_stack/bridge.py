# SPDX-License-Identifier: BSD-3-Clause
"""A bridge of the kernel's in this network namespace: what an accelerator and a software backend both reach.

Each has a TAP of its own; the host's address is the bridge's. While whole pairs of queues move the bridge learns
where a guest is from its next frame. A queue alone that moves leaves a guest that sends on one side and receives on
the other: then the bridge must be a hub.
"""

from ringpass_testvm import netns, supervise
from ringpass_testvm.errors import TestvmError

TAP_SECONDS = 30


class Bridge:
    def __init__(self, name, mac, address, learning=True):
        """address: with prefix length."""
        self.name = name
        self._mac = mac
        self._address = address
        self._learning = learning

    def start(self):
        # its own address for good: else the bridge takes its ports', and guests have the wrong one in their tables
        netns.ip("link", "add", self.name, "address", self._mac, "type", "bridge", "mcast_snooping", "0")
        netns.set_address(self.name, self._address, TAP_SECONDS)

    def stop(self):
        """Also when it was not started."""
        if self.name in netns.interfaces():
            netns.ip("link", "delete", self.name)

    def attach(self, tap):
        """Wait for a TAP, and make it one of the bridge's ports."""
        supervise.wait_until(lambda: tap in netns.interfaces(), TAP_SECONDS, f"network device {tap}")
        netns.ip("link", "set", tap, "master", self.name)
        netns.ip("link", "set", tap, "type", "bridge_slave", "learning", "on" if self._learning else "off")
        netns.ip("link", "set", tap, "up")

    def expect(self, address, mac):
        """Ask nobody where an address is."""
        netns.ip("neighbour", "replace", address, "lladdr", mac, "dev", self.name, "nud", "permanent")

    def require_port(self, tap):
        if tap not in netns.interfaces():
            raise TestvmError(f"{tap} is not there")
