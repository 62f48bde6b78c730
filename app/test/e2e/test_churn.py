# SPDX-License-Identifier: BSD-3-Clause
"""A guest that keeps restarting its driver, and a VM that is paused again and again.

QEMU aborts when a notify area is removed twice within its deferred unmap; a guest must not be able
to bring that about by reloading its driver.
"""

import pytest

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all

REBINDS = 12
PAUSES = 15
REBIND = """
driver=/sys/bus/virtio/drivers/virtio_net
device=$(basename $(ls -d $driver/virtio*))
for i in $(seq {count}); do
    echo $device >$driver/unbind
    echo $device >$driver/bind
    sleep {pause}
done
"""


@pytest.fixture
def stack(make_stack):
    one = make_stack(uplink=True)
    one.start()
    return one


def require_traffic(stack):
    guest = stack.guests[0]
    guest.wait_modes()
    require_all(ping(guest.vm, UPLINK_ADDRESS, 10), "pings")
    stack.require_alive()


@pytest.mark.parametrize("pause", ["0", "0.4"], ids=["at-once", "when-mapped"])
def test_driver_is_reloaded(stack, pause):
    guest = stack.guests[0]
    guest.vm.run(REBIND.format(count=REBINDS, pause=pause), timeout=120)
    guest.set_address()
    require_traffic(stack)
    assert guest.vm.boot_count == 1


def test_vm_is_paused(stack):
    guest = stack.guests[0]
    before = {queue["queue"]: queue["doorbell_maps"] for queue in guest.show()["queues"]}
    with guest.vm.qmp() as monitor:
        for _ in range(PAUSES):
            monitor.execute("stop")
            monitor.execute("cont")
    require_traffic(stack)
    after = {queue["queue"]: queue["doorbell_maps"] for queue in guest.show()["queues"]}
    # Each pause stops the rings; the doorbells were offered anew, but not once per pause.
    assert all(before[index] < after[index] <= before[index] + PAUSES for index in before)
