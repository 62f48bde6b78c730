# SPDX-License-Identifier: BSD-3-Clause
"""Memory and threads on the node where they are wanted, on a machine of two nodes: an emulated one."""

import pytest

from ringpass_testvm import Supervisor, Vm, prepare

SECONDS = 120
NAMES = ("memory_goes_where_it_is_wanted", "threads_go_where_they_are_wanted")


@pytest.fixture
def guest(build, store):
    program = f"{build.directory}/app/test/lib/dma/test_dma_node"
    with Supervisor("numa") as supervisor:
        machine = prepare.machine(cache=store, accelerator="tcg", memory="half", memory_mib=512, cpus=2, programs=[program])
        vm = Vm(supervisor, "guest0", machine)
        vm.start()
        yield vm


def test_two_nodes(guest):
    assert guest.run("ls -d /sys/devices/system/node/node[0-9]*").output.split() == [
        f"/sys/devices/system/node/node{node}" for node in range(2)]
    result = guest.run("test_dma_node 2>&1", SECONDS, check=False)
    print(result.output)
    assert result.status == 0
    for name in NAMES:
        assert f"OK ] {name}" in result.output
