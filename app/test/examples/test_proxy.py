# SPDX-License-Identifier: BSD-3-Clause
"""examples/proxy between ringpassd and a device: softaccel, or the accelerator example."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TOP / "usertools"), str(pathlib.Path(__file__).resolve().parent)]

from ringpass_stack.programs import Build, Control, Function, Port, Ringpassd, Softaccel  # noqa: E402
from ringpass_testvm import Supervisor  # noqa: E402
from vfio_user_client import CONFIG_REGION, Client  # noqa: E402

SECONDS = 120
PACKETS = 50
ROUNDS = 3


@pytest.fixture(scope="module")
def build():
    return Build(os.environ.get("RINGPASS_BUILD_DIR") or TOP / "build")


@pytest.fixture
def supervisor():
    with Supervisor("proxy") as one:
        yield one


def example(build, name):
    return os.path.join(build.directory, "examples", name, name)


class Stand:
    """A device, the proxy before it, and ringpassd with a port on the proxy when it is asked for."""

    def __init__(self, supervisor, build, device="softaccel", bars=()):
        self._supervisor = supervisor
        self.build = build
        self.device_socket = supervisor.path("device.sock")
        self.shown_socket = supervisor.path("shown.sock")
        self.socket = supervisor.path("vm0.sock")
        if device == "softaccel":
            softaccel = Softaccel(supervisor, build, [Function(self.device_socket, "52:54:00:00:00:01", 1)])
            softaccel.start()
            self.device = softaccel.process
        else:
            self.device = supervisor.start("accelerator", [example(build, "accelerator"), self.device_socket])
            self.device.wait_for_line("accelerator: ready", SECONDS)
        self.proxy = supervisor.start("proxy", [example(build, "proxy"), self.device_socket, self.shown_socket,
                                                *map(str, bars)])
        self.proxy.wait_for_line("proxy: ready", SECONDS)

    def start_ringpassd(self):
        port = Port("vm0", self.socket, [f"vfio-user,socket={self.shown_socket}"], queue_pairs=1,
                    more={"profile": '"extended"', "doorbell_delay_ms": 1, "reconnect_ms": 100})
        self.ringpassd = Ringpassd(self._supervisor, self.build, [port])
        self.ringpassd.start()
        return Control(self.build, self.ringpassd.rpc)

    def master(self, *arguments):
        done = subprocess.run([example(self.build, "master"), self.socket, "--profile", "extended", "--json",
                               *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS, check=False,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done
        self.require_alive()
        return json.loads(done.stdout)["queues"]

    def require_alive(self):
        self.device.require_alive()
        self.proxy.require_alive()


@pytest.mark.parametrize("rings", [[], ["--packed"]], ids=["split", "packed"])
def test_kicks_and_interrupts_go_past_it(supervisor, build, rings):
    """The doorbells that the guest maps are the device's, and the device signals the guest's own eventfds."""
    stand = Stand(supervisor, build)
    control = stand.start_ringpassd()
    receive, transmit = stand.master("--packets", PACKETS, "--rounds", ROUNDS, "--queue-size", 32, "--wait", 20000,
                                     *rings)
    assert transmit["chains"] == PACKETS * ROUNDS
    assert transmit["doorbell_kicks"] > 0 and transmit["interrupts"] > 0
    for queue in receive, transmit:
        assert queue["doorbell"] and queue["maps"] >= ROUNDS
        assert queue["eventfd_kicks"] == 0
    assert [queue["relayed_kicks"] for queue in control.show("vm0")["queues"]] == [0, 0]


def test_it_sleeps_while_packets_flow(supervisor, build):
    """It wakes for what starts and stops the rings, however many packets there are between the two."""
    stand = Stand(supervisor, build, "accelerator")
    stand.start_ringpassd()
    wakes = []
    for packets in 10, 10, 4000:
        before = wakes_of(stand.proxy.pid)
        _, transmit = stand.master("--packets", packets, "--rounds", 1, "--wait", 20000)
        assert transmit["chains"] == packets
        wakes.append(wakes_of(stand.proxy.pid) - before)
    assert wakes[1] > 0
    assert wakes[2] < wakes[1] + 1000


def wakes_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)


def test_frames_are_the_device_s(supervisor, build):
    """What comes back was turned around by the accelerator behind the proxy, in the guest's own memory."""
    stand = Stand(supervisor, build, "accelerator")
    stand.start_ringpassd()
    receive, transmit = stand.master("--packets", PACKETS, "--rounds", ROUNDS, "--wait", 20000)
    assert transmit["chains"] == receive["chains"] == PACKETS * ROUNDS
    assert stand.device.stop() == 0
    assert f"{PACKETS * ROUNDS} frames sent, {PACKETS * ROUNDS} came back" in stand.device.log()


def test_one_client_after_the_other(supervisor, build):
    stand = Stand(supervisor, build)
    stand.start_ringpassd()
    for _ in range(2):
        stand.master("--packets", 10, "--rounds", 1, "--wait", 20000)
        stand.ringpassd.kill()
        os.unlink(stand.socket)
        stand.ringpassd.start()
    stand.master("--packets", 10, "--rounds", 1, "--wait", 20000)


def test_a_device_that_leaves(supervisor, build):
    stand = Stand(supervisor, build, "accelerator")
    stand.device.kill()
    assert stand.proxy.wait(SECONDS) == 1
    assert "proxy: device: it left" in stand.proxy.log()
    assert not os.path.exists(stand.shown_socket)


def test_it_ends_when_told(supervisor, build):
    stand = Stand(supervisor, build, "accelerator")
    assert stand.proxy.stop() == 0
    assert not os.path.exists(stand.shown_socket)
    stand.device.require_alive()


def look(path, *, write=None):
    """Configuration space, the sizes of the BARs and what `write` did to the registers of the BARs."""
    client = Client(path)
    try:
        config = client.read(CONFIG_REGION, 0, 4096)
        sizes = [client.region_size(region) for region in range(6)]
        if write:
            client.write(CONFIG_REGION, 0x10, write)
        return config, sizes, client.read(CONFIG_REGION, 0x10, 24)
    finally:
        client.close()


def test_configuration_space_is_the_device_s(supervisor, build):
    # The device has one client at a time: what it is without the proxy is seen first.
    first = supervisor.start("plain", [example(build, "accelerator"), supervisor.path("plain.sock")])
    first.wait_for_line("accelerator: ready", SECONDS)
    plain = look(supervisor.path("plain.sock"), write=b"\xff" * 24)
    stand = Stand(supervisor, build, "accelerator")
    assert look(stand.shown_socket, write=b"\xff" * 24) == plain
    assert plain[0][:4] == bytes.fromhex("f41a4110")
    assert [bool(size) for size in plain[1]] == [True, False] * 3


def test_a_bar_that_is_not_named(supervisor, build):
    stand = Stand(supervisor, build, "accelerator", bars=(0, 2))
    _, sizes, registers = look(stand.shown_socket, write=b"\xff" * 24)
    assert sizes[0] and sizes[2] and not sizes[4]
    assert registers[:4] != bytes(4) and registers[12:16] == b"\xff" * 4
    assert registers[16:] == bytes(8)


@pytest.mark.parametrize("arguments", [[], ["a"], ["--help", "b"], ["a", "b", "6"], ["a", "b", "10"]])
def test_bad_arguments(build, arguments):
    done = subprocess.run([example(build, "proxy"), *arguments], capture_output=True, text=True, timeout=SECONDS,
                          check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr == "usage: proxy DEVICE-SOCKET SOCKET [BAR...]\n"


def test_no_device(build, supervisor):
    done = subprocess.run([example(build, "proxy"), supervisor.path("nobody"), supervisor.path("s")],
                          capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert done.stderr.startswith(f"proxy: {supervisor.path('nobody')}: ") and len(done.stderr.splitlines()) == 1
