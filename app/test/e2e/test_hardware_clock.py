# SPDX-License-Identifier: BSD-3-Clause
"""KVM in the hardware VM has to know how fast the processor's counter goes: a nested guest's timers are made of it."""

import re

import pytest

from ringpass_hwvm import Function, HardwareVm, vm
from ringpass_testvm import Supervisor

# Of a new virtual processor: ioctls KVM_CREATE_VM, KVM_CREATE_VCPU and KVM_GET_TSC_KHZ.
ASK = """
import fcntl
with open("/dev/kvm", "r+b", buffering=0) as kvm:
    print(fcntl.ioctl(fcntl.ioctl(fcntl.ioctl(kvm, 0xae01, 0), 0xae41, 0), 0xaea3, 0))
"""
MEASURED = re.compile(r"tsc: Refined TSC clocksource calibration: (\d+)\.(\d{3}) MHz")


def _clocks(store, *arguments):
    """@return kHz: as the kernel knows it in the end, and as KVM does."""
    with Supervisor("hardware-clock") as supervisor:
        host = HardwareVm(supervisor, [Function()], store, trace=False)
        host.vm.machine.kernel_arguments += "".join(f" {argument}" for argument in arguments)
        host.start()
        found = MEASURED.search(host.run("dmesg").output)
        return int(found.group(1) + found.group(2)), int(host.run(f"/usr/bin/python3 -c '{ASK}'").output)


@pytest.fixture
def kvm_first(monkeypatch):
    """As it comes where a loaded machine takes its time to measure, so that the other modules are there before that."""
    monkeypatch.setattr(vm, "MODULES", sorted(vm.MODULES, key=lambda name: name != "kvm_amd"))


def test_kvm_is_there_when_the_clock_is_known(store, kvm_first):
    """The kernel guesses at first, and measures for a second. KVM that has come meanwhile gives guests no timers."""
    right, _ = _clocks(store)
    again, of_kvm = _clocks(store, f"tsc_early_khz={right * 995 // 1000}")
    assert abs(again - right) < right / 1000
    assert abs(of_kvm - again) < again / 1000
