# SPDX-License-Identifier: BSD-3-Clause
"""examples/accelerator behind ringpassd, with examples/master as the VMM."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_stack.programs import Build, Control, Port, Ringpassd  # noqa: E402
from ringpass_testvm import Supervisor  # noqa: E402

SECONDS = 120
PACKETS = 60
ROUNDS = 3


@pytest.fixture(scope="module")
def build():
    return Build(os.environ.get("RINGPASS_BUILD_DIR") or TOP / "build")


@pytest.fixture
def supervisor():
    with Supervisor("accelerator") as one:
        yield one


def example(build, name):
    return os.path.join(build.directory, "examples", name, name)


def run(build, name, *arguments):
    return subprocess.run([example(build, name), *map(str, arguments)], capture_output=True, text=True,
                          timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)


class Host:
    """The accelerator, and ringpassd with one port on it."""

    def __init__(self, supervisor, build):
        self.build = build
        self.device = supervisor.path("f0.sock")
        self.socket = supervisor.path("vm0.sock")
        self.accelerator = supervisor.start("accelerator", [example(build, "accelerator"), self.device])
        self.accelerator.wait_for_line("accelerator: ready", SECONDS)
        port = Port("vm0", self.socket, [f"vfio-user,socket={self.device}"], queue_pairs=1,
                    more={"profile": '"extended"', "doorbell_delay_ms": 1, "reconnect_ms": 100})
        self.ringpassd = Ringpassd(supervisor, build, [port])
        self.ringpassd.start()
        self.control = Control(build, self.ringpassd.rpc)

    def master(self, *arguments):
        done = run(self.build, "master", self.socket, "--profile", "extended", "--json", *arguments)
        assert done.returncode == 0, done
        self.accelerator.require_alive()
        self.ringpassd.process.require_alive()
        return json.loads(done.stdout)["queues"]


@pytest.fixture
def host(supervisor, build):
    return Host(supervisor, build)


@pytest.mark.parametrize("rings", [[], ["--packed"]], ids=["split", "packed"])
def test_every_frame_comes_back(host, rings):
    """Over doorbells that the guest has mapped; rounds are so long that the rings wrap in the middle of one."""
    receive, transmit = host.master("--packets", PACKETS, "--rounds", ROUNDS, "--queue-size", 64, "--wait", 20000,
                                    *rings)
    assert transmit["chains"] == PACKETS * ROUNDS
    assert receive["chains"] == PACKETS * ROUNDS
    for queue in receive, transmit:
        assert queue["doorbell"] and queue["maps"] >= ROUNDS
        assert queue["eventfd_kicks"] == 0
        assert queue["interrupts"] > 0
    assert transmit["doorbell_kicks"] > 0
    assert [queue["relayed_kicks"] for queue in host.control.show("vm0")["queues"]] == [0, 0]


def test_frames_that_find_no_room_are_lost(host):
    """The receive ring is filled once a round: what is beyond it does not come back, and nothing hangs."""
    receive, transmit = host.master("--packets", 50, "--rounds", 2, "--queue-size", 16, "--wait", 20000)
    assert transmit["chains"] == 100
    assert receive["chains"] == 32


def test_a_kick_by_eventfd_is_relayed(host):
    """A VMM that maps no doorbell (another profile) is served all the same."""
    done = run(host.build, "master", host.socket, "--profile", "vfio2018", "--json", "--wait", 0, "--packets", 20)
    assert done.returncode == 0, done
    receive, transmit = json.loads(done.stdout)["queues"]
    assert transmit["chains"] == 40 and receive["chains"] == 40
    assert transmit["eventfd_kicks"] > 0 and transmit["doorbell_kicks"] == 0


def test_one_vmm_after_the_other(host):
    for rings in ([], ["--packed"], []):
        receive, _ = host.master("--packets", 10, "--rounds", 1, "--wait", 20000, *rings)
        assert receive["chains"] == 10


def test_a_ringpassd_that_dies(host):
    """Its client's memory is gone, its rings are not touched; the next one finds the device in order."""
    host.master("--packets", 10, "--rounds", 1, "--wait", 20000)
    host.ringpassd.kill()
    os.unlink(host.socket)
    host.ringpassd.start()
    receive, _ = host.master("--packets", 10, "--rounds", 1, "--wait", 20000)
    assert receive["chains"] == 10


def test_it_ends_when_told_and_says_what_it_did(host):
    host.master("--packets", 10, "--rounds", 1, "--wait", 20000)
    assert host.accelerator.stop() == 0
    assert not os.path.exists(host.device)
    assert "accelerator: 10 frames sent, 10 came back" in host.accelerator.log()


def test_it_lists_what_it_is(host):
    text = host.accelerator.log()
    assert "1af4:1041 class 020000" in text
    assert "MSI-X: 3 vectors" in text
    assert "PCI Express" in text


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b"]])
def test_bad_arguments(build, arguments):
    done = run(build, "accelerator", *arguments)
    assert done.returncode == 2
    assert done.stderr == "usage: accelerator SOCKET\n"


def test_a_socket_that_cannot_be(build, supervisor):
    done = run(build, "accelerator", supervisor.path("no/such/directory"))
    assert done.returncode == 1
    assert done.stderr.startswith("accelerator: ") and len(done.stderr.splitlines()) == 1
