# SPDX-License-Identifier: BSD-3-Clause
"""drivers/vfio on the kernel's own VFIO, in the hardware VM: a test program inside it, and what users get wrong."""

import os
import re

import pytest

from ringpass_hwvm import Function, HardwareVm
from ringpass_testvm import Supervisor

ROOM = os.path.join("app", "test", "drivers")
PROGRAM = os.path.join(ROOM, "vfio", "test_vfio_hardware")
TRY_PROGRAM = os.path.join(ROOM, "vfio", "test_vfio_try")
RTE_PROGRAM = os.path.join(ROOM, "vfio_rte", "test_vfio_rte_hardware")
ROOT_BUS, ROOT_PORT, FIRST, SECOND = range(4)
FUNCTIONS = [Function(), Function(root_port=True), Function(shared_group=True), Function(shared_group=True)]
LIMIT_SECONDS = 600


def built(build, name):
    path = os.path.join(build.directory, name)
    assert os.path.exists(path), f"{name} is not built"
    return path


@pytest.fixture(scope="module")
def program(build):
    """Opens a device."""
    return built(build, TRY_PROGRAM)


@pytest.fixture(scope="module")
def machine(store):
    with Supervisor("vfio-kernel") as supervisor:
        yield HardwareVm(supervisor, FUNCTIONS, store, trace=False).start()


def attempt(machine, program, address):
    """Open a device. @return errno or 0, and the words."""
    status, _, words = machine.run(f"{program} open {address}", LIMIT_SECONDS).output.strip().partition(" ")
    return -int(status), words


def test_a_program_on_the_kernels_vfio(machine, build):
    addresses = " ".join(machine.address(index) for index in range(len(FUNCTIONS)))
    result = machine.run(f"RINGPASS_VFIO_DEVICES='{addresses}' {built(build, PROGRAM)} 2>&1", LIMIT_SECONDS, check=False)
    print(result.output)
    assert result.status == 0
    assert "[  PASSED  ] 13 test(s)." in result.output


def test_a_container_of_an_application_of_dpdks(machine, build):
    path = os.path.join(build.directory, RTE_PROGRAM)
    if not os.path.exists(path):
        pytest.skip("not built: librte_eal (libdpdk-dev) was not found")
    addresses = f"{machine.address(ROOT_BUS)} {machine.address(ROOT_PORT)}"
    result = machine.run(f"ulimit -l unlimited; RINGPASS_VFIO_DEVICES='{addresses}' {path} 2>&1", LIMIT_SECONDS,
                         check=False)
    print(result.output)
    assert result.status == 0
    assert "[  PASSED  ] 3 test(s)." in result.output


def test_a_group_with_another_driver_in_it(machine, program):
    first, second = machine.address(FIRST), machine.address(SECOND)
    machine.bind(SECOND, "virtio-pci")
    try:
        error, words = attempt(machine, program, first)
        assert error == 16
        assert words == (f"group {machine.group(FIRST)} is not viable: {second} (virtio-pci) in it must be bound to "
                         "vfio-pci or to no driver (ringpass-devbind)")
        error, words = attempt(machine, program, second)
        assert error == 2
        assert words == (f"{second} is bound to virtio-pci, expected vfio-pci: bind it with: "
                         f"ringpass-devbind bind {second}")
        machine.bind(SECOND, "")
        assert attempt(machine, program, first) == (0, "")
        error, words = attempt(machine, program, second)
        assert error == 2 and "is bound to no driver" in words
    finally:
        machine.bind(SECOND, "vfio-pci")
    assert attempt(machine, program, second) == (0, "")


def test_a_device_that_is_not_there(machine, program):
    assert attempt(machine, program, "0000:77:00.0") == (
        2, "0000:77:00.0: no such PCI device: lspci -D lists those of this machine")


def test_a_machine_without_an_iommu(supervisor, store, program):
    machine = HardwareVm(supervisor, [Function()], store, iommu=False, trace=False).start()
    error, words = attempt(machine, program, machine.address(0))
    assert error == 95
    assert words == (f"{machine.address(0)} has no IOMMU group: turn the IOMMU on in the firmware (VT-d, AMD-Vi) and on "
                     "the kernel's command line (intel_iommu=on)")


@pytest.mark.parametrize("total_mib, piece_kib", [(16384, 256 * 1024), (1024, 64), (255, 4)])
def test_much_memory_and_many_pieces(machine, program, total_mib, piece_kib):
    """As much as a large guest has, and as many pieces as the kernel takes; how long it took is for whoever reads."""
    text = machine.run(f"{program} measure {machine.address(ROOT_BUS)} {total_mib} {piece_kib}", LIMIT_SECONDS).output
    print(text)
    found = re.search(r"(\d+) MiB in (\d+) pieces of (\d+) KiB: mapped in (\d+) ms", text)
    assert found and int(found[2]) == total_mib * 1024 // piece_kib
