# SPDX-License-Identifier: BSD-3-Clause
"""Memory and threads on the node where they are wanted, on a machine of two nodes: an emulated one."""

import glob

import pytest

from ringpass_testvm import Supervisor, Vm, prepare

SECONDS = 120
PROGRAMS = {
    "lib/dma/test_dma_node": ("memory_goes_where_it_is_wanted", "threads_go_where_they_are_wanted"),
    "lib/dma/test_dma_follow": ("it_goes_only_where_it_may",),
    "app/ringpassd/test_ringpassd_numa": ("it_follows_the_guest", "it_stays_where_it_may_run",
                                          "it_stays_where_the_user_wants_it", "private_rings_lie_beside_the_guests"),
    "app/softaccel/test_softaccel_place": ("pool_and_thread_follow", "a_guest_draws_it_to_its_memory"),
}
# What DPDK loads by itself: its pools are made by one.
LIBRARIES = glob.glob("/usr/lib/*/dpdk/pmds-*/librte_mempool_ring.so*")


@pytest.fixture
def guest(build, store):
    programs = [f"{build.directory}/app/test/{program}" for program in PROGRAMS]
    with Supervisor("numa") as supervisor:
        machine = prepare.machine(cache=store, accelerator="tcg", memory="half", memory_mib=512, cpus=2,
                                  programs=programs, libraries=LIBRARIES)
        vm = Vm(supervisor, "guest0", machine)
        vm.start()
        yield vm


def test_two_nodes(guest):
    assert guest.run("ls -d /sys/devices/system/node/node[0-9]*").output.split() == [
        f"/sys/devices/system/node/node{node}" for node in range(2)]
    # DPDK keeps its files there, and loads nothing from where everybody may write.
    guest.run("mkdir -p /run /var/run /tmp && chmod 755 /")
    for program, names in PROGRAMS.items():
        result = guest.run(f"{program.split('/')[-1]} 2>&1", SECONDS, check=False)
        print(result.output)
        assert result.status == 0
        for name in names:
            assert f"OK ] {name}" in result.output
