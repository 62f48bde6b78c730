# SPDX-License-Identifier: BSD-3-Clause
"""ringpassd is replaced while its frontends stay connected, and rings of hardware are served all the time."""

import os
import pathlib

import pytest
from frontend import Frontend
from service_manager import ServiceManager

from ringpass_stack.ping import PingStream
from ringpass_stack.programs import UPLINK_MAC, Control, Function, Port, Ringpassd, Softaccel
from ringpass_stack.scenario import PREFIX_LENGTH, UPLINK_ADDRESS, require_all
from ringpass_testvm import netns, supervise

MAC, ADDRESS = "52:54:00:00:00:01", "10.77.0.2"
SECONDS = 60
PINGS = 20
KEPT = ["kept-port-vm0", "kept-rpc"]


class Managed(Ringpassd):
    """ringpassd under a service manager."""

    def start(self):
        config = self._supervisor.path("ringpassd.conf")
        ports = ",\n  ".join(port.text() for port in self._ports)
        pathlib.Path(config).write_text(f"ports = (\n  {ports}\n);\n", encoding="utf-8")
        self.manager = ServiceManager(self._supervisor, [self._build.program("ringpassd"), "--config", config, "--rpc",
                                                         self.rpc, "--hand-over"])
        self._supervisor.on_close(self.manager.close)
        self.go_on()

    def go_on(self):
        self.manager.start()
        self.manager.wait_ready()
        self.process = self.manager.process

    def leave(self, control, way):
        """@return what it said of its ports; None: nobody asked it."""
        self.process = None
        said = None
        if way == "command":
            said = control.ask("hand-over")["ports"]
            assert self.manager.ended() == 0
        else:
            assert self.manager.replace_by_signal() == 0
        return said


class Rig:
    """A frontend that is no VMM, a port, an accelerator with an uplink to the kernel, which answers pings."""

    def __init__(self, supervisor, build, more=None, packed=False):
        path = supervisor.path
        self.supervisor = supervisor
        self.uplink = f"rp{os.getpid()}"
        self.accelerator = Softaccel(supervisor, build, [Function(path("f0.sock"), MAC, 1)], self.uplink)
        port = Port("vm0", path("vm0.sock"), [f"vfio-user,socket={path('f0.sock')}"], queue_pairs=1,
                    more={"doorbell_delay_ms": 5, "reconnect_ms": 50, **(more or {})})
        self.ringpassd = Managed(supervisor, build, [port])
        self.frontend = Frontend(supervisor, build, path("vm0.sock"), 1, MAC, ADDRESS, UPLINK_MAC, UPLINK_ADDRESS,
                                 packed)
        self.control = Control(build, self.ringpassd.rpc)

    def start_accelerator(self):
        self.accelerator.start()
        netns.set_address(self.uplink, f"{UPLINK_ADDRESS}/{PREFIX_LENGTH}", SECONDS)
        netns.ip("neighbour", "replace", ADDRESS, "lladdr", MAC, "dev", self.uplink, "nud", "permanent")

    def begin(self):
        self.start_accelerator()
        self.ringpassd.start()
        self.frontend.start()
        self.frontend.connect()
        self.frontend.do("traffic on")
        return self

    def direct(self):
        self.frontend.do("direct")
        self.frontend.wait_traffic()
        return self

    def queues(self):
        return self.control.show("vm0")["queues"]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.ringpassd.process.pid}/fd"))

    def log(self):
        return self.ringpassd.process.log()

    @property
    def manager(self):
        return self.ringpassd.manager


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_frames_move_while_no_ringpassd_runs(supervisor, build, packed):
    rig = Rig(supervisor, build, packed=packed).begin().direct()
    maps, counts = rig.frontend.counts()["maps"], []
    for way in ("command", "signal", "command"):
        said = rig.ringpassd.leave(rig.control, way)
        assert said in (None, [{"port": "vm0", "live": True}])
        assert "kept-state" in rig.manager.stored()
        rig.frontend.wait_traffic()
        rig.ringpassd.go_on()
        assert rig.control.show("vm0")["state"] == "connected"
        assert {queue["mode"] for queue in rig.queues()} == {"direct"}
        assert {queue["doorbell_maps"] for queue in rig.queues()} == {1}
        rig.frontend.wait_traffic()
        # What it was made of serves once.
        assert rig.manager.stored() == KEPT
        counts.append(rig.descriptors())
    found = rig.frontend.counts()
    assert found["connected"] == 1 and found["maps"] == maps
    assert found["lost"] == found["late"] == found["twice"] == found["bad"] == 0
    assert len(set(counts)) == 1, counts
    # And the successor's word is law: rings stop and start, doorbells come back.
    rig.frontend.do("stop")
    rig.frontend.do("cont")
    rig.direct()


@pytest.mark.parametrize("more, mode", [({"doorbell": '"relay"'}, "relayed"), ({"ring": '"shadow"'}, "shadow")],
                         ids=["relayed", "shadow"])
def test_what_needs_a_process_waits_for_it(supervisor, build, more, mode):
    rig = Rig(supervisor, build, more).begin()
    rig.frontend.wait_traffic()
    rig.ringpassd.leave(rig.control, "command")
    rig.ringpassd.go_on()
    rig.frontend.wait_traffic()
    found = rig.frontend.counts()
    assert found["connected"] == 1 and found["twice"] == found["bad"] == 0
    assert {queue["mode"] for queue in rig.queues()} == {mode}


def test_a_migration_goes_on_being_logged(supervisor, build):
    """Private rings meanwhile: what is written before and after is in the log, of which the successor knows."""
    rig = Rig(supervisor, build, {"migratable": "true"}).begin().direct()
    rig.frontend.do("log on")
    rig.frontend.wait_traffic()
    rig.frontend.missed()
    rig.frontend.wait_traffic()
    assert {queue["mode"] for queue in rig.queues()} == {"shadow"}
    rig.ringpassd.leave(rig.control, "command")
    rig.ringpassd.go_on()
    rig.frontend.wait_traffic()
    assert {queue["mode"] for queue in rig.queues()} == {"shadow"}
    found = rig.frontend.missed()
    assert found["changed"] > 0 and found["missed"] == 0
    rig.frontend.do("log off")
    rig.direct()
    counts = rig.frontend.counts()
    assert counts["connected"] == 1 and counts["twice"] == counts["bad"] == 0


def test_a_software_backend_goes_on(make_stack, supervisor, build):
    """testpmd behind the port: its rings wait for the successor to connect to it; the frontend stays connected."""
    stack = make_stack(software=True, queue_pairs=1, port_options={"doorbell_delay_ms": 5, "reconnect_ms": 50,
                                                                  "software_reconnect_ms": 50})
    stack.ringpassd = Managed(supervisor, build, stack.ringpassd._ports)
    stack.start_host()
    stack.bridge.expect(ADDRESS, MAC)
    frontend = Frontend(supervisor, build, supervisor.path("vm0.sock"), 1, MAC, ADDRESS, UPLINK_MAC, UPLINK_ADDRESS)
    frontend.start()
    frontend.connect()
    frontend.do("traffic on")
    for side in ("software", "hardware"):
        stack.control.move("vm0", side)
        stack.control.wait_modes("vm0", "software" if side == "software" else "direct", SECONDS)
        frontend.wait_traffic()
        stack.ringpassd.leave(stack.control, "command")
        stack.ringpassd.go_on()
        stack.control.wait_modes("vm0", "software" if side == "software" else "direct", SECONDS)
        supervise.wait_until(lambda: stack.control.show("vm0")["software"]["state"] == "usable", SECONDS,
                             "the software backend is usable")
        frontend.wait_traffic()
    assert frontend.counts()["connected"] == 1


def test_a_frontend_that_leaves_meanwhile(supervisor, build):
    rig = Rig(supervisor, build).begin().direct()
    rig.ringpassd.leave(rig.control, "command")
    rig.frontend.kill()
    rig.ringpassd.go_on()
    supervise.wait_until(lambda: rig.control.show("vm0")["state"] == "listening", SECONDS, "the port is free")
    assert {queue["mode"] for queue in rig.queues()} == {"stopped"}
    rig.frontend.start()
    rig.frontend.connect()
    rig.frontend.do("traffic on")
    rig.direct()


def test_an_accelerator_that_dies_meanwhile(supervisor, build):
    rig = Rig(supervisor, build).begin().direct()
    rig.ringpassd.leave(rig.control, "command")
    rig.accelerator.process.kill()
    rig.ringpassd.go_on()
    rig.start_accelerator()
    supervise.wait_until(lambda: {queue["mode"] for queue in rig.queues()} <= {"direct", "relayed"} or not
                         rig.frontend.counts()["connected"], SECONDS, "somebody serves, or the frontend was told")
    if not rig.frontend.counts()["connected"]:
        rig.frontend.connect()
    rig.direct()


def test_a_changed_port_begins_anew(supervisor, build):
    """It is another port than the frontend knows: its connection ends, and the log says why."""
    rig = Rig(supervisor, build).begin().direct()
    rig.ringpassd.leave(rig.control, "command")
    config = pathlib.Path(supervisor.path("ringpassd.conf"))
    config.write_text(config.read_text(encoding="utf-8").replace("reconnect_ms = 50", "reconnect_ms = 60"),
                      encoding="utf-8")
    rig.ringpassd.go_on()
    assert "event=port-not-adopted reconnect_ms: the configuration says something else now" in rig.log()
    supervise.wait_until(lambda: not rig.frontend.counts()["connected"], SECONDS, "the connection has ended")
    rig.frontend.connect()
    rig.direct()
    assert rig.manager.stored() == KEPT


def test_what_was_left_is_not_believed(supervisor, build):
    """A store with a part missing, as a small one has, and a state that is none: the old way, and in words."""
    rig = Rig(supervisor, build).begin().direct()
    for damage in (lambda: rig.manager.drop("kept-part-3"), lambda: rig.manager.drop("kept-state")):
        rig.ringpassd.leave(rig.control, "command")
        damage()
        rig.ringpassd.go_on()
        supervise.wait_until(lambda: not rig.frontend.counts()["connected"], SECONDS, "the connection has ended")
        rig.frontend.connect()
        rig.direct()
        assert rig.manager.stored() == KEPT
    rig.manager.stop()
    with open("/dev/null", "rb") as file:
        rig.manager.put("kept-state", file.fileno())
        rig.manager.put("kept-part-99999", file.fileno())
        rig.ringpassd.go_on()
    assert "event=nothing-adopted state: found no sealed file" in rig.log()
    assert "event=descriptor-refused kept-part-99999" in rig.log()


def test_a_guest_notices_nothing(make_stack, supervisor, build):
    stack = make_stack(uplink=True, queue_pairs=1)
    stack.ringpassd = Managed(supervisor, build, stack.ringpassd._ports)
    stack.start()
    guest = stack.guests[0]
    frontend_pid = guest.show()["frontend_pid"]
    stream = PingStream(guest.vm, UPLINK_ADDRESS, 0.05)
    for way in ("command", "signal"):
        stack.ringpassd.leave(stack.control, way)
        before = stream.answered()
        supervise.wait_until(lambda: stream.answered() >= before + PINGS, SECONDS, "pings go on without ringpassd",
                             guest.vm.require_alive)
        stack.ringpassd.go_on()
        shown = guest.show()
        assert shown["frontend_pid"] == frontend_pid
        assert {queue["mode"] for queue in shown["queues"]} == {"direct"}
        assert {queue["doorbell_maps"] for queue in shown["queues"]} == {1}
    require_all(stream.finish(), "two hand-overs")
