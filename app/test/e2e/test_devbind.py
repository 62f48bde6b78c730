# SPDX-License-Identifier: BSD-3-Clause
"""ringpass-devbind on a real kernel: the hardware VM, whose functions are behind an IOMMU."""

import json

import pytest

from ringpass_hwvm import Function, HardwareVm
from ringpass_testvm import Supervisor
from ringpass_testvm.supervise import wait_until

SECONDS = 120
ALONE, LEFT, RIGHT, LEGACY = range(4)
HOLD = "import os, time; os.open('/dev/vfio/{}', os.O_RDWR); print('held', flush=True); time.sleep(1000)"


class Host:
    """The VM, and the tool in it."""

    def __init__(self, supervisor, build, functions, **options):
        self.vm = HardwareVm(supervisor, functions, build=build, trace=False, **options)
        self.tool = build.tool("ringpass-devbind")
        self.vm.start()

    def call(self, *arguments):
        return self.vm.run(" ".join([self.tool, "--json", *arguments, "2>&1"]), check=False)

    def devices(self, *arguments):
        result = self.call(*arguments)
        assert result.status == 0, result
        return json.loads(result.output)["devices"]

    def refusal(self, *arguments):
        result = self.call(*arguments)
        assert result.status == 1, result
        assert len(result.output.splitlines()) == 1
        return result.output

    def groups(self):
        return self.vm.run("ls /dev/vfio").output.split()


@pytest.fixture(scope="module")
def host(build, store):
    with Supervisor("devbind") as supervisor:
        functions = [Function(), Function(shared_group=True), Function(shared_group=True),
                     Function(modern=False, iommu=False, driver="")]
        one = Host(supervisor, build, functions, store=store)
        one.vm.run("modprobe virtio_net")
        yield one


def test_to_the_kernel_and_back(host):
    address, group = host.vm.address(ALONE), str(host.vm.group(ALONE))
    assert group in host.groups()
    [device] = host.devices("unbind", address)
    assert device["driver"] == "virtio-pci" == host.vm.driver(ALONE)
    assert group not in host.groups()
    [device] = wait_until(lambda: [one for one in host.devices("show", address) if one["interfaces"]], SECONDS,
                          "the interface", host.vm.require_alive)
    interface = device["interfaces"][0]
    assert device["in_use"] is None
    host.vm.run(f"ip address add 192.0.2.1/24 dev {interface} && ip link set {interface} up")
    assert f"{interface} has the address 192.0.2.1/24" in host.refusal("bind", interface)
    assert host.vm.driver(ALONE) == "virtio-pci"
    # The network behind it has given it addresses too.
    host.vm.run(f"ip link set {interface} down && ip address flush dev {interface}")
    [device] = host.devices("bind", interface)
    assert (device["driver"], device["group"], device["interfaces"]) == ("vfio-pci", group, [])
    assert host.vm.driver(ALONE) == "vfio-pci" and group in host.groups()


def test_a_shared_group(host):
    left, right = host.vm.address(LEFT), host.vm.address(RIGHT)
    assert {device["driver"] for device in host.devices("unbind", left, right)} == {"virtio-pci"}
    assert f"with {right} (1af4:1041, virtio-pci)" in host.refusal("bind", left)
    assert "--force" not in host.refusal("bind", left, "--force")
    assert host.vm.driver(LEFT) == host.vm.driver(RIGHT) == "virtio-pci"
    devices = host.devices("bind", left, right)
    assert [device["driver"] for device in devices] == ["vfio-pci", "vfio-pci"]
    assert right in devices[0]["group_members"] and left in devices[1]["group_members"]


def test_a_group_that_somebody_holds(host):
    """The kernel would wait; it is not asked."""
    address = host.vm.address(ALONE)
    holder = host.vm.spawn("holder", f'exec python3 -c "{HOLD.format(host.vm.group(ALONE))}"')
    try:
        holder.wait_for_line("held", SECONDS)
        assert f"process {holder.pid} (python3)" in host.refusal("unbind", address)
        assert host.vm.driver(ALONE) == "vfio-pci"
    finally:
        holder.kill()
    [device] = host.devices("unbind", address)
    assert device["driver"] == "virtio-pci"
    host.devices("bind", address)


def test_legacy_only(host):
    address = host.vm.address(LEGACY)
    assert [device["virtio"] for device in host.devices("show", address)] == ["legacy"]
    assert "legacy-only" in host.refusal("bind", address)
    assert host.vm.driver(LEGACY) != "vfio-pci"


def test_without_an_iommu(build, store, supervisor):
    host = Host(supervisor, build, [Function(driver="", iommu=False)], store=store, iommu=False)
    assert "it has no IOMMU group: switch the IOMMU on" in host.refusal("bind", host.vm.address(0), "--force")
    assert not [name for name in host.groups() if name != "vfio"]
