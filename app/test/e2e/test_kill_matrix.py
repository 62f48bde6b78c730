# SPDX-License-Identifier: BSD-3-Clause
"""Each cell of kill_matrix.py: one of four is killed, or hangs and goes on when others have taken its place.

No VM: the frontend is a process of ours, its traffic are pings to the host, each of which is accounted for. What must
never be, in no cell: a ping that is answered twice or with other bytes, as two owners of a ring would make it.
"""

import contextlib
import itertools
import json
import os
import pathlib
import random
import signal
import socket
import time

import kill_matrix as matrix
import leaks
import pytest
from frontend import Frontend, Refused

from ringpass_stack.programs import UPLINK_MAC
from ringpass_stack.scenario import UPLINK_ADDRESS, Stack
from ringpass_testvm import Supervisor, TestvmError, supervise

GUIDE = pathlib.Path(__file__).resolve().parents[3] / "doc" / "guides" / "software-backend.md"
MAC, ADDRESS = "52:54:00:00:00:01", "10.77.0.2"
SECONDS = 30
LOOK_SECONDS = 0.2  # at a traffic that does not flow
RACE_SECONDS = 0.005  # a move or a memory table take about as long
# Our frontend's mappings are replaced at once, so nothing is to be waited for as with QEMU.
KEYS = {"doorbell_delay_ms": 5, "software_timeout_ms": 300, "software_reconnect_ms": 50, "reconnect_ms": 50}
ACCELERATOR_TIMEOUT_MS = 500
PORT = "vm0"
MODES = {matrix.HARDWARE: {"direct", "relayed"}, matrix.SOFTWARE: {"software"}, matrix.SHADOW: {"shadow"},
         matrix.NOBODY: {"stopped"}}
SEED = int(os.environ.get("RINGPASS_SEED") or random.randrange(1 << 32))


class Rpc:
    """One request that goes out at once, and whose answer may never come."""

    def __init__(self, path, method, **params):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(path)
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._socket.sendall(json.dumps(request).encode() + b"\n")

    def finish(self):
        """@return the answer, or None when there is none any more."""
        try:
            line = self._socket.makefile("r", encoding="utf-8").readline()
        except OSError:
            line = ""
        self._socket.close()
        return json.loads(line) if line else None


class Scene:
    """The four, and nobody is hurt."""

    def __init__(self, supervisor, build, store):
        self.stack = Stack(supervisor, build, store, software=True, queue_pairs=1, port_options=KEYS,
                           accelerator_options=f"timeout_ms={ACCELERATOR_TIMEOUT_MS}")
        self.supervisor = supervisor
        self.control = self.stack.control
        self.frontend = Frontend(supervisor, build, supervisor.path("vm0.sock"), 1, MAC, ADDRESS, UPLINK_MAC,
                                 UPLINK_ADDRESS)
        self.stack.start_host()
        self.stack.bridge.expect(ADDRESS, MAC)
        self.come()

    def come(self):
        self.frontend.start()
        self.frontend.connect()

    def rest(self):
        """Where each cell begins."""
        supervise.wait_until(lambda: self.control.show(PORT)["software"]["state"] == "usable", SECONDS,
                             "the software backend is usable")
        self.control.move(PORT, "auto")
        self.frontend.do("traffic off")
        self.wait(matrix.HARDWARE)
        self.frontend.do("direct")

    def flows(self):
        self.frontend.do("traffic on")
        self.frontend.wait_traffic()

    def stands(self):
        """What is sent is not answered."""
        self.frontend.do("traffic on")
        time.sleep(LOOK_SECONDS)
        before = self.frontend.counts()
        time.sleep(LOOK_SECONDS)
        after = self.frontend.counts()
        assert after["answered"] == before["answered"]
        assert after["out"] + after["lost"] > 0 or not after["connected"]

    def queues(self):
        return self.control.show(PORT)["queues"]

    def wait(self, who):
        def reached():
            modes = {queue["mode"] for queue in self.queues()}
            return modes and modes <= MODES[who]
        try:
            supervise.wait_until(reached, SECONDS, f"queues are served by {who}")
        except TestvmError as error:
            shown = [(queue["mode"], queue["reason"], queue["wish"], queue["wish_reason"]) for queue in self.queues()]
            raise TestvmError(f"{error}; last seen: {shown}") from error

    def move(self, wish):
        """Without waiting."""
        return Rpc(self.stack.ringpassd.rpc, "queue.move", port=PORT, wish=wish)


class Victim:
    """How it is hurt, and helped."""

    def __init__(self, scene, name, way):
        self.name, self.way = name, way
        self._scene = scene
        stack = scene.stack
        self._one = {"frontend": scene.frontend, "software backend": stack.backends[0],
                     "accelerator": stack.softaccel, "ringpassd": stack.ringpassd}[name]

    def hurt(self):
        if self.way == "killed":
            self._one.kill()
        else:
            os.kill(self._one.process.pid, signal.SIGSTOP)

    def help(self):
        scene, stack = self._scene, self._scene.stack
        if self.way == "hung":
            os.kill(self._one.process.pid, signal.SIGCONT)
        elif self.name == "frontend":
            scene.come()
        elif self.name == "software backend":
            stack.start_backend(stack.backends[0])
        elif self.name == "accelerator":
            stack.start_softaccel()
        else:
            stack.start_ringpassd()
            supervise.wait_until(lambda: not scene.frontend.counts()["connected"], SECONDS, "the frontend noticed")
            scene.frontend.connect()


class Moments:
    """What goes on when the victim is hurt. Each returns what is to be waited for when it is helped."""

    def __init__(self, scene, victim, chance):
        self._scene, self._victim, self._chance = scene, victim, chance

    def _hurt_during(self, ask):
        """One that is killed is so some time after it was asked; one that hangs was asked in vain."""
        if self._victim.way == "killed":
            going = ask()
            time.sleep(self._chance.uniform(0, RACE_SECONDS))
            self._victim.hurt()
            return going
        self._victim.hurt()
        return ask()

    def idle(self):
        self._victim.hurt()

    def traffic(self):
        self._scene.flows()
        self._victim.hurt()

    def move(self):
        """From the one that is hurt, or to the software backend."""
        wish = "software"
        if self._victim.name == "software backend":
            wish = "auto"
            self._scene.control.move(PORT, "software")
            self._scene.wait(matrix.SOFTWARE)
        self._scene.flows()
        return self._hurt_during(lambda: self._scene.move(wish)).finish

    def migration(self):
        self._scene.frontend.do("log on")
        self._scene.wait(matrix.SOFTWARE)
        self._scene.flows()
        self._victim.hurt()

    def hotplug(self):
        frontend = self._scene.frontend
        self._scene.flows()
        if self._victim.name == "frontend":
            frontend.send("plug")
            time.sleep(self._chance.uniform(0, RACE_SECONDS))
            self._victim.hurt()
            return frontend.finish if self._victim.way == "hung" else None
        self._hurt_during(lambda: frontend.send("plug"))
        if (self._victim.name, self._victim.way) == ("ringpassd", "hung"):
            return frontend.finish
        with contextlib.suppress(Refused):
            frontend.finish()
        return None


BY_MOMENT = dict(zip(matrix.MOMENTS, ("idle", "traffic", "move", "migration", "hotplug")))


def look(scene, victim, moment, who):
    """While the victim is hurt."""
    frontend_answers = victim.name != "frontend"
    if victim.name == "ringpassd":
        if victim.way == "killed":
            supervise.wait_until(lambda: not scene.frontend.counts()["connected"], SECONDS, "the frontend noticed")
            scene.stands()
        elif moment != "during memory hotplug":  # where the frontend waits for its answer
            scene.flows()
        return
    if who == matrix.STALLS:
        scene.stands()
        return
    scene.wait(who)
    if who == matrix.NOBODY:
        assert all(queue["reason"] for queue in scene.queues())
        if frontend_answers:
            scene.stands()
    elif frontend_answers:
        scene.flows()


class Room:
    """One scene for many cells; another one after a cell that failed."""

    def __init__(self, build, store):
        self._build, self._store = build, store
        self._supervisor = None
        self.scene = None

    def open(self):
        if not self.scene:
            self._supervisor = Supervisor("matrix").open()
            self.scene = Scene(self._supervisor, self._build, self._store)
        return self.scene

    def logs(self):
        for name in ("ringpassd", "softaccel", "sw00", "frontend"):
            print(f"--- {name}{supervise.tail(self._supervisor.path(f'{name}.log'), 40)}")

    def close(self):
        self.scene = None
        if self._supervisor:
            directory, mark = self._supervisor.directory, self._supervisor.mark
            self._supervisor.close()
            self._supervisor = None
            assert leaks.remains(mark, directory) == []


@pytest.fixture(scope="module")
def room(build, store):
    one = Room(build, store)
    yield one
    one.close()


@pytest.fixture
def scene(room, request):
    print(f"RINGPASS_SEED={SEED}")
    yield room.open()
    if getattr(request.node, "has_failed", False):
        room.logs()
        room.close()


@pytest.mark.parametrize("victim_name, way, moment", itertools.product(matrix.VICTIMS, matrix.WAYS, matrix.MOMENTS))
def test_cell(scene, victim_name, way, moment):
    chance = random.Random(f"{SEED} {victim_name} {way} {moment}")
    scene.rest()
    victim = Victim(scene, victim_name, way)
    finish = getattr(Moments(scene, victim, chance), BY_MOMENT[moment])()
    look(scene, victim, moment, matrix.meanwhile(victim_name, way, moment))
    victim.help()
    if finish:
        finish()
    scene.control.move(PORT, "auto")
    scene.wait(matrix.afterwards(victim_name, way, moment))
    scene.flows()
    if moment == "during migration" and matrix.afterwards(victim_name, way, moment) != matrix.HARDWARE:
        scene.frontend.do("log off")
        scene.wait(matrix.HARDWARE)
        scene.flows()
    if moment == "during memory hotplug":
        scene.frontend.do("unplug")
        scene.flows()


def test_the_guide_has_the_table():
    assert "\n".join(matrix.table()) in GUIDE.read_text(encoding="utf-8")
