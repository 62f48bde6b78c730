# SPDX-License-Identifier: BSD-3-Clause
"""On the kernel's own VFIO: ringpassd is replaced, and the group, or all of the device, stays as it is."""

import json
import os
import pathlib

import pytest

from ringpass_hwvm import Function, HardwareVm, wire
from ringpass_testvm import Supervisor, netns

INSIDE = pathlib.Path(__file__).resolve().parent / "hand_over_inside.py"
MAC = "52:54:00:00:01:01"
LIMIT_SECONDS = 600


TAP = f"ho{os.getpid()}"


@pytest.fixture(scope="module")
def machine(build, store):
    with Supervisor("hand-over-vfio") as supervisor:
        one = HardwareVm(supervisor, [Function(packed=True, tap=TAP)], store, build=build).start()
        netns.ip("neighbour", "replace", wire.guest(0).partition("/")[0], "lladdr", MAC, "dev", TAP, "nud",
                 "permanent")
        yield one


def _command(machine, build, way):
    return (f"ulimit -l unlimited; exec /usr/bin/python3 {INSIDE} {build.directory} {machine.address(0)} "
            f"{machine.group(0)} {way}")


def test_the_group_stays_open(supervisor, build, store):
    """After a plain stop, and after a crash. Nothing comes by its wire, so that its rings are fresh each time."""
    machine = HardwareVm(supervisor, [Function()], store, trace=False, build=build).start()
    group = machine.group(0)
    result = machine.run(f"{_command(machine, build, 'anew')} 2>&1", LIMIT_SECONDS, check=False)
    assert result.status == 0, result.output
    found = json.loads(result.output.splitlines()[-1])
    kept = ["kept-port-vm0", "kept-rpc", f"kept-vfio-{group}"]
    assert found["stored"] == [kept, kept, kept, ["kept-rpc"]]
    assert found["between"] == ["EBUSY", "EBUSY"]
    for log in found["logs"]:
        assert f"event=descriptor-inherited kept-vfio-{group}" in log
        assert "refused" not in log and "port-waiting" not in log, log


def test_the_rings_run_while_no_ringpassd_does(machine, build):
    """The guest's pings go on, its doorbell stays mapped, and the hardware hears of nothing but its rings."""
    group = machine.group(0)
    machine.run("rm -f /run/next.fifo; mkfifo /run/next.fifo")
    program = machine.spawn("inside", f"exec 3<>/run/next.fifo; {_command(machine, build, 'live')} <&3")
    program.wait_for_line("BEFORE", LIMIT_SECONDS)
    statuses = machine.statuses(0)
    assert statuses
    machine.run("echo >/run/next.fifo")
    program.wait_for_line("AFTER", LIMIT_SECONDS)
    assert machine.statuses(0) == statuses
    machine.run("echo >/run/next.fifo")
    assert program.wait(LIMIT_SECONDS) == 0, program.log()
    found = json.loads(program.log().splitlines()[-1])
    assert found["said"] == [[{"port": "vm0", "live": True}]] * 2
    assert found["between"] == [[0, "EBUSY"]] * 3
    assert found["after"] == [["connected", ["direct"], [1]]] * 3
    assert found["stored"] == [["kept-port-vm0", "kept-rpc", f"kept-vfio-{group}"]] * 3
    assert len(set(found["maps"])) == 1
    counts = found["counts"]
    assert counts["connected"] == 1 and counts["lost"] == counts["twice"] == counts["bad"] == 0, counts
    for log in found["logs"]:
        assert "refused" not in log and "not-adopted" not in log, log
