# SPDX-License-Identifier: BSD-3-Clause
"""examples/accelerator behind ringpassd, with examples/master as the VMM."""

import json
import os
import pathlib
import random
import struct
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TOP / "usertools"), str(pathlib.Path(__file__).resolve().parent)]

from ringpass_stack.programs import Build, Control, Port, Ringpassd  # noqa: E402
from ringpass_testvm import Supervisor  # noqa: E402
from vfio_user_client import CONFIG_REGION, Client  # noqa: E402

SECONDS = 120
PACKETS = 60
ROUNDS = 3
REGISTERS_BAR, NOTIFY_BAR = 2, 4
IOVA = 0x40000000
# virtio 1.2, 4.1.4.3
DRIVER_FEATURE_SELECT, DEVICE_STATUS, QUEUE_SELECT, QUEUE_SIZE, QUEUE_ENABLE, QUEUE_DESC = 8, 20, 22, 24, 28, 32


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

    def __init__(self, supervisor, build, with_ringpassd=True):
        self.build = build
        self._supervisor = supervisor
        self.device = supervisor.path("f0.sock")
        self.socket = supervisor.path("vm0.sock")
        self.accelerator = supervisor.start("accelerator", [example(build, "accelerator"), self.device])
        self.accelerator.wait_for_line("accelerator: ready", SECONDS)
        if with_ringpassd:
            self.start_ringpassd()

    def start_ringpassd(self):
        port = Port("vm0", self.socket, [f"vfio-user,socket={self.device}"], queue_pairs=1,
                    more={"profile": '"extended"', "doorbell_delay_ms": 1, "reconnect_ms": 100})
        self.ringpassd = Ringpassd(self._supervisor, self.build, [port])
        self.ringpassd.start()
        self.control = Control(self.build, self.ringpassd.rpc)

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


def write_at_random(client, random_source, region, size, count):
    for _ in range(count):
        width = random_source.choice((1, 2, 3, 4, 4, 8, 16))
        at = random_source.randrange(size - width)
        client.write(region, at, random_source.randbytes(width))
        client.read(region, at, width)


def start_at_random(client, random_source, iova, size):
    """As a driver would, with rings anywhere in memory that is noise, or beyond it."""
    client.write(REGISTERS_BAR, DEVICE_STATUS, b"\0")
    for half, bits in (0, 1 << 5), (1, random_source.choice((1, 1 << 2 | 1))):
        client.write(REGISTERS_BAR, DRIVER_FEATURE_SELECT, struct.pack("<II", half, bits))
    client.write(REGISTERS_BAR, DEVICE_STATUS, b"\x0b")
    for queue in 0, 1:
        client.write(REGISTERS_BAR, QUEUE_SELECT, struct.pack("<H", queue))
        client.write(REGISTERS_BAR, QUEUE_SIZE, struct.pack("<H", random_source.choice((1, 2, 8, 100, 256, 65535))))
        ring = [iova + 16 * random_source.randrange(size // 16 + 16) for _ in range(3)]
        client.write(REGISTERS_BAR, QUEUE_DESC, struct.pack("<QQQ", *ring))
        client.write(REGISTERS_BAR, QUEUE_ENABLE, struct.pack("<H", 1))
    client.write(REGISTERS_BAR, DEVICE_STATUS, b"\x0f")
    for _ in range(20):
        client.write(NOTIFY_BAR, os.sysconf("SC_PAGE_SIZE") * random_source.randrange(2), b"\1\0")


def test_whatever_a_guest_does(supervisor, build):
    """Noise in registers, configuration space and rings; then the device is what it was."""
    source = random.Random(4)
    host = Host(supervisor, build, with_ringpassd=False)
    size = 1 << 20
    memory = os.memfd_create("noise")
    try:
        os.write(memory, source.randbytes(size))
        for _ in range(10):
            client = Client(host.device)
            client.dma_map(IOVA, size, memory)
            for _ in range(20):
                client.write(CONFIG_REGION, 4, b"\6\0")
                start_at_random(client, source, IOVA, size)
            for region in 0, REGISTERS_BAR, CONFIG_REGION:
                write_at_random(client, source, region, 4096, 300)
            host.accelerator.require_alive()
            client.close()
    finally:
        os.close(memory)
    client = Client(host.device)
    client.reset()
    client.close()
    host.start_ringpassd()
    receive, transmit = host.master("--packets", 10, "--rounds", 1, "--wait", 20000)
    assert transmit["chains"] == receive["chains"] == 10


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b"]])
def test_bad_arguments(build, arguments):
    done = run(build, "accelerator", *arguments)
    assert done.returncode == 2
    assert done.stderr == "usage: accelerator SOCKET\n"


def test_a_socket_that_cannot_be(build, supervisor):
    done = run(build, "accelerator", supervisor.path("no/such/directory"))
    assert done.returncode == 1
    assert done.stderr.startswith("accelerator: ") and len(done.stderr.splitlines()) == 1
