# SPDX-License-Identifier: BSD-3-Clause
"""`make demo-vfio`, with split and with packed rings; and interrupted: nothing is left."""

import json
import os
import signal

import pytest
from test_demo import left

from ringpass_testvm.supervise import MARK_VARIABLE

# A nested guest in an emulated machine, on whatever processor is left.
DEMO_SECONDS = 1800
END_SECONDS = 120


def start(supervisor, build, directory, *options):
    environment = {"TMPDIR": directory, MARK_VARIABLE: f"{supervisor.mark}-demo"}
    command = [build.tool("ringpass-demo-vfio"), "--build-dir", build.directory, *options]
    return supervisor.start("demo", command, environment)


@pytest.mark.parametrize("rings", [[], ["--packed"]], ids=["split", "packed"])
def test_it_shows(supervisor, build, temporary, rings):
    demo = start(supervisor, build, temporary, "--transfer-mib", "4", *rings)
    status = demo.wait(DEMO_SECONDS)
    output = demo.log()
    assert status == 0, output
    figures = json.loads(output.splitlines()[-1])
    assert figures["demo"] == "ok"
    assert figures["pings_sent"] == figures["pings_received"] > 0
    assert figures["bytes_checked"] == 2 * 4 << 20
    assert figures["direct_kicks"] > figures["master_direct_kicks"] >= 1
    assert figures["relayed_kicks_after_map"] == figures["relayed_interrupts"] == 0
    assert figures["device_interrupts"] > figures["master_interrupts"] >= 1
    assert figures["master_packets"] > 0
    assert figures["vfio_group_passed"] is True
    assert figures["kvm_vfio_file_added"] == figures["kvm_vfio_file_removed"] == 1
    assert left(supervisor, temporary) == []


@pytest.mark.parametrize("signum, moment", [
    (signal.SIGINT, "booting the hardware VM"),
    (signal.SIGTERM, "booting a nested"),
])
def test_interrupted(supervisor, build, temporary, signum, moment):
    demo = start(supervisor, build, temporary)
    demo.wait_for_line(moment, DEMO_SECONDS)
    os.kill(demo.pid, signum)
    assert demo.wait(END_SECONDS) == 128 + signum
    assert left(supervisor, temporary) == []
