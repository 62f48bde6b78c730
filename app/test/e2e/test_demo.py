# SPDX-License-Identifier: BSD-3-Clause
"""`make demo`, twice; and interrupted at various moments: nothing is left."""

import json
import os
import signal

import leaks
import pytest

from ringpass_testvm.supervise import MARK_VARIABLE, TestvmError, wait_until

DEMO_SECONDS = 600
END_SECONDS = 60
KEYS = {"demo", "pings_sent", "pings_received", "pings_lost_in_toggles", "bytes_checked", "direct_kicks",
        "relayed_kicks", "relayed_interrupts", "queue_toggles", "guest_reboots", "moves", "pings_lost_in_moves"}


def start(supervisor, build, temporary, name="demo"):
    environment = {"TMPDIR": temporary, MARK_VARIABLE: f"{supervisor.mark}-{name}"}
    command = [build.tool("ringpass-demo"), "--build-dir", build.directory]
    # PDEATHSIG and the mark are the supervisor's; the demo's own processes carry the mark given here
    return supervisor.start(name, command, environment)


def left(supervisor, temporary, name="demo"):
    """Processes and files; the demo's sockets and its TAP are in a namespace that ends with the processes."""
    def gone():
        return not leaks.processes(f"{supervisor.mark}-{name}")
    try:
        wait_until(gone, leaks.GRACE_SECONDS, "processes of the demo")
    except TestvmError:
        return leaks.processes(f"{supervisor.mark}-{name}")
    return os.listdir(temporary)


def test_twice(supervisor, build, temporary):
    for name in ("first", "second"):
        demo = start(supervisor, build, temporary, name)
        status = demo.wait(DEMO_SECONDS)
        output = demo.log()
        assert status == 0, output
        figures = json.loads(output.splitlines()[-1])
        assert KEYS <= figures.keys()
        assert figures["demo"] == "ok"
        assert figures["pings_sent"] == figures["pings_received"] > 0
        assert figures["bytes_checked"] >= 64 << 20
        assert figures["direct_kicks"] > 0
        assert figures["relayed_interrupts"] == 0
        assert figures["queue_toggles"] > 0
        assert figures["moves"] > 0
        assert figures["pings_lost_in_moves"] == 0
        assert figures["guest_reboots"] == 1
        assert left(supervisor, temporary, name) == []


@pytest.mark.parametrize("signum, moment", [
    (signal.SIGINT, "starting softaccel"),
    (signal.SIGTERM, "booting a guest"),
    (signal.SIGHUP, "guest is up"),
    (signal.SIGINT, "pings from the guest"),
    (signal.SIGTERM, "pings go on while"),
])
def test_interrupted(supervisor, build, temporary, signum, moment):
    demo = start(supervisor, build, temporary)
    demo.wait_for_line(moment, DEMO_SECONDS)
    os.kill(demo.pid, signum)
    assert demo.wait(END_SECONDS) == 128 + signum
    assert left(supervisor, temporary) == []


def test_killed(supervisor, build, temporary):
    """SIGKILL leaves the demo no time for its directory; but no process, and so no TAP and no namespace, outlives it."""
    demo = start(supervisor, build, temporary)
    demo.wait_for_line("guest is up", DEMO_SECONDS)
    demo.kill()
    assert all(name.startswith("ringpass-demo-") for name in left(supervisor, temporary))
