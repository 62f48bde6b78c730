# SPDX-License-Identifier: BSD-3-Clause
"""examples/accelerator as a card of a guest: QEMU's vfio-user-pci, the guest's own virtio-net driver."""

import os

from ringpass_testvm import VfioUser, Vm, prepare
from ringpass_testvm.supervise import wait_until

WAIT_SECONDS = 60
MAC = "02:00:00:00:00:52"


def count(vm, name):
    return int(vm.run(f"cat /sys/class/net/eth0/statistics/{name}").output)


def test_frames_come_back_to_the_guest(supervisor, build, store, current_qemu):
    path = supervisor.path("f0.sock")
    program = os.path.join(build.directory, "examples", "accelerator", "accelerator")
    accelerator = supervisor.start("accelerator", [program, path])
    accelerator.wait_for_line("accelerator: ready", WAIT_SECONDS)
    vm = Vm(supervisor, "guest0", prepare.machine([VfioUser(path, "rp0")], store, root_ports=["rp0"],
                                                  memory="shared", program=current_qemu))
    vm.start()
    assert vm.run("cat /sys/class/net/eth0/address").output.strip() == MAC
    vm.set_address(0, "10.77.0.2/24")
    sent = count(vm, "tx_packets")
    # Nobody answers; each question is a frame that comes back.
    vm.run("ping -c 5 -W 1 10.77.0.1", check=False)
    assert count(vm, "tx_packets") > sent
    wait_until(lambda: count(vm, "rx_packets") == count(vm, "tx_packets"), WAIT_SECONDS, "all frames back",
               accelerator.require_alive)
    assert count(vm, "rx_errors") == 0
    vm.reboot()
    vm.set_address(0, "10.77.0.2/24")
    vm.run("ping -c 2 -W 1 10.77.0.1", check=False)
    assert count(vm, "rx_packets") > 0
    vm.stop()
    assert accelerator.stop() == 0
