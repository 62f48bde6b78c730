# SPDX-License-Identifier: BSD-3-Clause
"""The source of a live migration, with QEMU: what the accelerator writes is logged, by serving private rings meanwhile.

The state goes nowhere, so that the same guest can be asked afterwards whether it noticed.
"""

import pytest

from ringpass_stack.ping import ping
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm.supervise import wait_until

MIGRATION_SECONDS = 300
SLOW, FAST = 1 << 20, 1 << 40  # bytes per second: one in which there is time to look, one that ends it


def bandwidth(monitor, limit):
    monitor.execute("migrate-set-parameters", **{"max-bandwidth": limit})


def status(monitor):
    return monitor.execute("query-migrate").get("status")


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_source(make_stack, packed):
    stack = make_stack(uplink=True, packed=packed, port_options={"migratable": "true"})
    stack.start()
    guest = stack.guests[0]
    require_all(ping(guest.vm, UPLINK_ADDRESS, 5), "pings before")
    with guest.vm.qmp() as monitor:
        bandwidth(monitor, SLOW)
        monitor.execute("migrate", uri="exec:cat >/dev/null")
        guest.wait_modes("shadow")
        require_all(ping(guest.vm, UPLINK_ADDRESS, 10), "pings while the guest migrates")
        assert status(monitor) == "active"
        reasons = {queue["reason"] for queue in guest.show()["queues"]}
        assert reasons == {"a migration wants to know what is written"}
        bandwidth(monitor, FAST)
        wait_until(lambda: status(monitor) == "completed", MIGRATION_SECONDS, "the migration's end")
        monitor.execute("cont")
    guest.wait_modes()
    require_all(ping(guest.vm, UPLINK_ADDRESS, 10), "pings after")
    stack.require_alive()
