# SPDX-License-Identifier: BSD-3-Clause
"""drivers/virtio on real kernel VFIO and on functions that are not ours: QEMU's, in the hardware VM, each of them different."""

import pytest

from ringpass_hwvm import Function, HardwareVm, wire
from ringpass_testvm import Supervisor
from ringpass_testvm.supervise import wait_until

SECONDS = 180
SLIRP = "10.0.2.2"
FUNCTIONS = {
    "split": Function(),
    "packed": Function(packed=True),
    "no-queue-reset": Function(queue_reset=False, packed=True),
    "shared-doorbells": Function(page_per_vq=False),
    "two-pairs": Function(queues=2, tap="pairs0"),
    "two-pairs-packed": Function(queues=2, packed=True, queue_reset=False, tap="pairs1"),
    "root-port": Function(root_port=True, packed=True),
}


@pytest.fixture(scope="module")
def host(build, store):
    with Supervisor("hardware-virtio") as supervisor:
        yield HardwareVm(supervisor, FUNCTIONS.values(), store, build=build).start()


def _command(host, build, name, arguments=""):
    index, function = list(FUNCTIONS).index(name), FUNCTIONS[name]
    program = f"{build.directory}/app/test/drivers/virtio/virtio_hardware"
    expected = {
        "DEVICE": host.address(index),
        "NEIGHBOUR": host.address((index + 1) % len(FUNCTIONS)),
        "PEER": wire.peer(index) if function.tap else SLIRP,
        "PAIRS": function.queues,
        "PACKED": int(function.packed),
        "QUEUE_RESET": int(function.queue_reset),
        "PAGES": int(function.page_per_vq),
    }
    environment = " ".join(f"RINGPASS_{key}={value}" for key, value in expected.items())
    return f"ulimit -l unlimited; {environment} exec {program} {arguments}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function(host, build, name):
    result = host.run(f"({_command(host, build, name)}) 2>&1", SECONDS, check=False)
    print(result.output)
    assert result.status == 0, result.output


def test_the_link_goes_down_and_up(host, build):
    host.run("rm -f /run/link.fifo; mkfifo /run/link.fifo")
    program = host.spawn("link", f"exec 3<>/run/link.fifo; {_command(host, build, 'split', 'link')} <&3")
    try:
        program.wait_for_line("link up", SECONDS)
        with host.vm.qmp() as qmp:
            qmp.execute("set_link", name="function0", up=False)
            program.wait_for_line("link down", SECONDS)
            qmp.execute("set_link", name="function0", up=True)
            wait_until(lambda: program.log().count("link up") == 2, SECONDS, "the link", program.require_alive)
    finally:
        program.stop()
