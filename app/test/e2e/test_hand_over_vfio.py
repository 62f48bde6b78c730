# SPDX-License-Identifier: BSD-3-Clause
"""On the kernel's own VFIO: a group stays the service's while ringpassd is replaced, also after a crash."""

import json
import pathlib

from ringpass_hwvm import Function, HardwareVm

INSIDE = pathlib.Path(__file__).resolve().parent / "hand_over_inside.py"
LIMIT_SECONDS = 600


def test_the_group_stays_open(supervisor, build, store):
    machine = HardwareVm(supervisor, [Function()], store, trace=False, build=build).start()
    group = machine.group(0)
    result = machine.run(f"ulimit -l unlimited; exec /usr/bin/python3 {INSIDE} {build.directory} {machine.address(0)} "
                         f"{group} 2>&1", LIMIT_SECONDS, check=False)
    assert result.status == 0, result.output
    found = json.loads(result.output.splitlines()[-1])
    kept = ["kept-port-vm0", "kept-rpc", f"kept-vfio-{group}"]
    assert found["stored"] == [kept, kept, kept, ["kept-rpc"]]
    assert found["between"] == ["EBUSY", "EBUSY"]
    for log in found["logs"]:
        assert f"event=descriptor-inherited kept-vfio-{group}" in log
        assert "refused" not in log and "port-waiting" not in log, log
