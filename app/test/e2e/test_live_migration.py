# SPDX-License-Identifier: BSD-3-Clause
"""A guest migrates between two QEMUs, each with an accelerator and a software backend of its own, while data arrive.

What was written to its memory is checked to the last page, twice: both memories are compared, and a program in the
guest reads at the destination what was received at the source. That these would find a page that was not logged is
shown with a log that nobody sees.
"""

import contextlib
import os
import time

import pytest
from frontend import Frontend

from ringpass_stack.migration import Backlog, Migration, describe_pages, different_pages
from ringpass_stack.ping import PingStream, ping
from ringpass_stack.programs import UPLINK_MAC
from ringpass_stack.scenario import UPLINK_ADDRESS, require_all
from ringpass_testvm import TestvmError, supervise

PAIRS = 1
MIB = 1 << 20
MEMORY_MIB = 256
QMP_SECONDS = 60
MODE_SECONDS = 60
INCOMING = ["-incoming", "defer", "-S"]
WAYS = {
    # what writes to the guest's memory while it is logged, and which keys of the port make it so
    "software": {"software": True},
    "shadow": {"port_options": {"migratable": "true"}, "bridged": True},
}
# Who logs, and can be made to do it where nobody sees.
FAULTY = {"software": "software_environment", "shadow": "ringpassd_environment"}
MAC, ADDRESS = "52:54:00:00:00:01", "10.77.0.2"
ROUNDS, LOG_ROUNDS = 20, 7
STILL_LOOKS, LOOK_SECONDS = 10, 0.05


def log_off(build):
    """Variables for a program whose log nobody sees."""
    return {"LD_PRELOAD": os.path.join(build.directory, "app", "test", "support", "log_off.so")}


def monitor_of(vm):
    """QEMU makes the socket some time after it was started."""
    monitor = None

    def connected():
        nonlocal monitor
        with contextlib.suppress(TestvmError, OSError):
            monitor = vm.qmp()
        return monitor
    return supervise.wait_until(connected, QMP_SECONDS, f"{vm.name}: QMP", vm.require_alive)


class Pair:
    """Two hosts on one bridge, and a guest on the first."""

    def __init__(self, make_stack, way, packed=False, **faults):
        """faults: of the source."""
        options = {"queue_pairs": PAIRS, "packed": packed, **WAYS[way]}
        self.mode = way
        self.source = make_stack(**options, **faults, machine_options={"memory_mib": MEMORY_MIB})
        self.destination = make_stack(**options, host="1", bridge=self.source.bridge,
                                      machine_options={"memory_mib": MEMORY_MIB, "extra": INCOMING})
        self.guest, self.next = self.source.guests[0], self.destination.guests[0]

    def start(self):
        self.source.start()
        self.destination.start_host()
        require_all(ping(self.guest.vm, UPLINK_ADDRESS, 5), "pings before")

    @contextlib.contextmanager
    def migrating(self):
        """@return the Migration, held, and the monitors of both ends."""
        self.next.vm.launch()
        with monitor_of(self.guest.vm) as monitor, monitor_of(self.next.vm) as incoming:
            uri = f"unix:{self.source.supervisor.path('migration.sock')}"
            migration = Migration(monitor, incoming, uri)
            self.guest.wait_modes(self.mode, MODE_SECONDS)
            migration.hold()
            yield migration, monitor, incoming

    def cancel(self, during=lambda monitor: None):
        """Once there and not gone; during() is what happens meanwhile. Its argument is the source's monitor."""
        with self.migrating() as (migration, monitor, _):
            during(monitor)
            migration.cancel()
        self.next.vm.kill()

    def arrive(self, backlog):
        """@return pages that differ."""
        with self.migrating() as (migration, _, incoming):
            require_all(ping(self.guest.vm, UPLINK_ADDRESS, 10), "pings while the guest migrates")
            backlog.send(8 * MIB)
            migration.finish()
            # the source has sent all; the last of it may still be on the way
            supervise.wait_until(lambda: incoming.execute("query-migrate").get("status") == "completed", QMP_SECONDS,
                                 "the guest is there")
            pages = different_pages(self.guest.vm.pid, self.next.vm.pid)
            print(f"{len(pages)} pages differ\n{describe_pages(self.guest.vm.pid, self.next.vm.pid, pages)}")
            self.next.vm.take_over(self.guest.vm.identity)
            incoming.execute("cont")
        self.guest.vm.kill()
        return pages


@pytest.fixture
def make_pair(make_stack):
    """A function: which way, and what else make_stack is to be told."""
    def make(way, **more):
        pair = Pair(make_stack, way, **more)
        pair.start()
        return pair
    return make


@pytest.fixture
def make_backlog():
    with contextlib.ExitStack() as stack:
        yield lambda vm: stack.enter_context(contextlib.closing(Backlog(vm, UPLINK_ADDRESS)))


@pytest.mark.parametrize("way, more", [("software", {}), ("software", {"packed": True}), ("shadow", {})],
                         ids=["software", "software-packed", "shadow"])
def test_no_write_is_missed(make_pair, make_backlog, way, more):
    pair = make_pair(way, **more)
    backlog = make_backlog(pair.guest.vm)
    backlog.send(MIB)
    assert pair.arrive(backlog) == []
    backlog.read(pair.next.vm)
    pair.next.wait_modes()
    require_all(ping(pair.next.vm, UPLINK_ADDRESS, 10), "pings at the destination, on hardware")
    pair.destination.require_alive()


def test_a_log_that_nobody_sees_is_noticed(make_pair, make_backlog, build):
    pair = make_pair("software", software_environment=log_off(build))
    backlog = make_backlog(pair.guest.vm)
    backlog.send(MIB)
    assert pair.arrive(backlog) != []
    with pytest.raises(TestvmError, match="another checksum"):
        backlog.read(pair.next.vm)


@pytest.fixture
def make_logging(make_stack, build):
    """A function: the way, and faults. @return a Frontend that migrates for ever, with traffic."""
    def make(way, **faults):
        keys = {**WAYS[way].get("port_options", {}), "doorbell_delay_ms": 5}
        stack = make_stack(**{**WAYS[way], "port_options": keys}, queue_pairs=1, **faults)
        stack.start_host()
        stack.bridge.expect(ADDRESS, MAC)
        frontend = Frontend(stack.supervisor, build, stack.supervisor.path("vm0.sock"), 1, MAC, ADDRESS, UPLINK_MAC,
                            UPLINK_ADDRESS)
        frontend.start()
        frontend.connect()
        frontend.do("traffic on")
        frontend.wait_traffic()
        frontend.do("log on")
        frontend.missed()  # what was written before
        return frontend
    return make


@pytest.mark.parametrize("way", WAYS)
def test_every_write_is_in_the_log(make_logging, way):
    """Without a VM: the memory is compared with what it was, and each page that only a device writes with the log."""
    frontend = make_logging(way)
    changed = 0
    for number in range(ROUNDS):
        if number % LOG_ROUNDS == LOG_ROUNDS - 1:  # given up, and begun anew
            frontend.do("log off")
            frontend.do("log on")
            frontend.missed()
        frontend.wait_traffic()
        counts = frontend.missed()
        assert counts["missed"] == 0, counts
        changed += counts["changed"]
    assert changed >= 2 * ROUNDS


@pytest.mark.parametrize("way", WAYS)
def test_a_write_that_is_not_in_the_log_is_noticed(make_logging, build, way):
    frontend = make_logging(way, **{FAULTY[way]: log_off(build)})
    frontend.wait_traffic()
    counts = frontend.missed()
    assert counts["missed"] == counts["changed"] > 0


def writes_nothing(monitor):
    """What is held is held for any guest, one that stands still too."""
    monitor.execute("stop")
    for _ in range(STILL_LOOKS):
        time.sleep(LOOK_SECONDS)
        assert monitor.execute("query-migrate")["status"] == "active"
    monitor.execute("cont")


def test_cancelled_and_again(make_pair, make_backlog):
    """Back on hardware at the source each time; also when the accelerator dies in between."""
    pair = make_pair("software")
    backlog = make_backlog(pair.guest.vm)
    stream = PingStream(pair.guest.vm, UPLINK_ADDRESS)
    pair.cancel()
    pair.guest.wait_modes()
    pair.cancel()
    pair.guest.wait_modes()
    require_all(stream.finish(), "pings while a migration is cancelled twice")

    def accelerator_dies(monitor):
        pair.source.softaccel.kill()
        require_all(ping(pair.guest.vm, UPLINK_ADDRESS, 10), "pings while the guest migrates without an accelerator")
        assert {queue["mode"] for queue in pair.guest.show()["queues"]} == {"software"}
        writes_nothing(monitor)
    pair.cancel(accelerator_dies)
    require_all(ping(pair.guest.vm, UPLINK_ADDRESS, 10), "pings without an accelerator")
    pair.source.start_softaccel()
    pair.guest.wait_modes()
    require_all(ping(pair.guest.vm, UPLINK_ADDRESS, 10), "pings with the accelerator that came back")
    pair.source.softaccel.kill()
    pair.guest.wait_modes("software")
    assert pair.arrive(backlog) == []
    backlog.read(pair.next.vm)
    pair.next.wait_modes()
    require_all(ping(pair.next.vm, UPLINK_ADDRESS, 10), "pings at the destination, on hardware")


def test_paused_saved_and_restored(make_stack, make_backlog):
    """As savevm and loadvm: to a file while it stands still, and from there into another QEMU on the same port."""
    stack = make_stack(software=True, queue_pairs=PAIRS, machine_options={"memory_mib": MEMORY_MIB})
    stack.start()
    guest = stack.guests[0]
    saved = stack.supervisor.path("saved")
    with guest.vm.qmp() as monitor:
        for _ in range(3):
            monitor.execute("stop")
            guest.wait_modes("stopped")
            monitor.execute("cont")
            guest.wait_modes()
        backlog = make_backlog(guest.vm)
        backlog.send(4 * MIB)
        monitor.execute("stop")
        monitor.execute("migrate", uri=f"exec:cat >{saved}")
        supervise.wait_until(lambda: monitor.execute("query-migrate").get("status") == "completed", QMP_SECONDS,
                             "the guest is saved")
    identity = guest.vm.identity
    guest.vm.kill()
    restored = stack.restored(guest, ["-incoming", f"exec:cat {saved}"])
    restored.launch()
    restored.take_over(identity)
    with monitor_of(restored) as monitor:  # it was saved while it stood still
        supervise.wait_until(lambda: monitor.execute("query-status")["status"] == "paused", QMP_SECONDS,
                             "the guest is restored")
        monitor.execute("cont")
    guest.vm = restored
    guest.wait_modes()
    backlog.read(restored)
    require_all(ping(restored, UPLINK_ADDRESS, 10), "pings of the restored guest")
    assert restored.boot_count == 1
