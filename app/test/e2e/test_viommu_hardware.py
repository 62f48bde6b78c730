# SPDX-License-Identifier: BSD-3-Clause
"""A guest with an IOMMU in strict mode in front of a card of kernel VFIO: ringpassd in the hardware VM, and a nested guest
under KVM. The card knows guest-physical addresses only, so each descriptor is translated on its way to a private ring."""

import os

import leaks
import pytest
from conftest import LOG_LINES
from hardware import PINGS, REBIND

from ringpass_hwvm import Function, HardwareVm, wire
from ringpass_stack import transfer
from ringpass_stack.programs import Port
from ringpass_testvm import Nic, Supervisor, VhostUser, netns
from ringpass_testvm.supervise import tail, wait_until

PORT = "vm0"
SOCKET = "/run/vm0.sock"
MAC = "52:54:00:00:03:00"
IOMMU = "intel-iommu,device-iotlb=on"
STRICT = "intel_iommu=on iommu.strict=1 iommu.passthrough=0"
BULK_BYTES = 128 << 10
SECONDS = 120
ACCESS_PLATFORM_BIT = 33
TRANSLATED = "the guest's IOMMU translates each address"
REFUSED = f"direct is the user's choice, but {TRANSLATED}, which the device cannot do"
FAULT = "DMAR: ["


class Rig:
    def __init__(self, supervisor, build, store):
        self.host = HardwareVm(supervisor, [Function(tap=f"hi{os.getpid()}")], store, build=build)
        self.guest = None

    def start(self):
        self.host.start()
        port = Port(PORT, SOCKET, [f"vfio,device={self.host.address(0)}"], queue_pairs=1,
                    more={"access_platform": '"on"', "mac": f'"{MAC}"'})
        self.host.start_ringpassd(f"ports = ( {port.text()} );")
        self.guest = self.host.start_guest([Nic(VhostUser(SOCKET), MAC, behind_iommu=True)], iommu=IOMMU,
                                           kernel_arguments=STRICT)
        self.set_address()
        self.wait("shadow")

    def set_address(self):
        self.guest.set_address(0, wire.guest(0))

    def reload_driver(self):
        self.guest.run(REBIND, SECONDS)
        self.set_address()

    def show(self):
        return self.host.control.show(PORT)

    def wait(self, mode):
        return self.host.control.wait_modes(PORT, mode, SECONDS, self.host.require_alive)

    def wait_reason(self, text):
        return wait_until(lambda: all(text in queue["reason"] for queue in self.show()["queues"]), SECONDS, text,
                          self.host.require_alive)

    def require_answers(self):
        text = self.guest.run(f"ping -c {PINGS} -i 0.1 -W 20 {wire.peer(0)}", SECONDS).output
        assert f"{PINGS} packets received" in text, text

    def require_nothing_refused(self):
        """@return what was asked of the guest's IOMMU."""
        shown = self.show()
        print(shown["iommu"], [(queue["mode"], queue["relayed_kicks"]) for queue in shown["queues"]], self.host.kicks())
        assert shown["iommu"]["negotiated"]
        assert shown["iommu"]["misses_refused"] == 0
        for queue in shown["queues"]:
            assert (queue["mode"], queue["reason"]) == ("shadow", TRANSLATED)
            assert queue["accesses_refused"] == queue["lost"] == queue["errors"] == 0
        return shown["iommu"]

    def require_no_fault(self):
        """Neither the guest's IOMMU nor the one that the card is behind has stopped anything."""
        # All of it would take a nested guest's serial line some twenty seconds.
        for vm in (self.guest, self.host.vm):
            assert vm.run(f"dmesg | grep -F '{FAULT}'", check=False).output == ""


@pytest.fixture(scope="module")
def shared_rig(request, build, store):
    before, failed = netns.interfaces(), request.session.testsfailed
    with Supervisor("hardware-viommu") as supervisor:
        directory = supervisor.directory
        one = Rig(supervisor, build, store)
        try:
            one.start()
            yield one
        finally:
            if request.session.testsfailed > failed or not one.guest:
                print(f"--- hardware-console.log{tail(supervisor.path('hardware-console.log'), LOG_LINES)}")
    assert leaks.remains(supervisor.mark, directory) == []
    assert netns.interfaces() == before


@pytest.fixture
def rig(shared_rig):
    yield shared_rig
    print(f"ringpassd said:\n{shared_rig.host.ringpassd.log()}")


def test_strict_traffic(rig):
    assert "strict mode" in rig.guest.run("dmesg | grep 'TLB invalidation policy'").output
    assert rig.guest.run("cat /sys/class/net/eth0/device/../iommu_group/type").output.strip() == "DMA"
    assert int(rig.show()["features_acked"], 16) >> ACCESS_PLATFORM_BIT & 1
    rig.require_answers()
    before, kicks = rig.require_nothing_refused(), rig.host.kicks()
    peer = wire.peer(0)
    sent = transfer.to_guest(rig.guest, peer, BULK_BYTES)
    transfer.from_guest(rig.guest, peer, sent)
    after, more = rig.require_nothing_refused(), rig.host.kicks()
    # Nothing stays mapped for a second use: each page of the data was asked for, both ways.
    pages = 2 * BULK_BYTES // os.sysconf("SC_PAGESIZE")
    assert after["misses"] - before["misses"] >= pages
    assert after["invalidations"] > before["invalidations"]
    assert more.get(1, 0) > kicks.get(1, 0)
    rig.require_no_fault()


def test_the_driver_again_and_no_direct_ring(rig):
    """Loaded anew the driver makes fresh rings, which the card could take were it not for the addresses."""
    rig.host.control.ring(PORT, "direct")
    rig.reload_driver()
    rig.wait_reason(REFUSED)
    assert {queue["mode"] for queue in rig.show()["queues"]} == {"stopped"}
    rig.host.control.ring(PORT, "auto")
    rig.wait("shadow")
    rig.require_answers()
    rig.require_nothing_refused()
    rig.require_no_fault()
