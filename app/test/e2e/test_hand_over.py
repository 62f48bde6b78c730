# SPDX-License-Identifier: BSD-3-Clause
"""ringpassd is replaced by a successor under a service manager: nobody who connects meanwhile is refused."""

import os
import pathlib
import socket

import pytest

from frontend import Frontend
from ringpass_stack.programs import Control, Function, Port, Softaccel
from ringpass_testvm import supervise
from service_manager import ServiceManager

MAC, PEER_MAC = "52:54:00:00:01:01", "52:54:00:00:01:00"
ADDRESS, PEER_ADDRESS = "192.0.2.2", "192.0.2.1"
SECONDS = 60


class Rig:
    """A frontend that is no VMM, a port, an accelerator; ringpassd under a service manager."""

    def __init__(self, supervisor, build):
        path = supervisor.path
        self.supervisor = supervisor
        self.socket = path("vm0.sock")
        self.rpc = path("rpc.sock")
        self.accelerator = Softaccel(supervisor, build, [Function(path("f0.sock"), MAC, 1)])
        port = Port("vm0", self.socket, [f"vfio-user,socket={path('f0.sock')}"], queue_pairs=1)
        config = pathlib.Path(path("ringpassd.conf"))
        config.write_text(f"ports = ( {port.text()} );\n", encoding="utf-8")
        self.manager = ServiceManager(supervisor, [build.program("ringpassd"), "--config", str(config), "--rpc",
                                                   self.rpc, "--hand-over"])
        supervisor.on_close(self.manager.close)
        self.frontend = Frontend(supervisor, build, self.socket, 1, MAC, ADDRESS, PEER_MAC, PEER_ADDRESS)
        self.control = Control(build, self.rpc)

    def begin(self):
        self.accelerator.start()
        self.manager.start()
        self.manager.wait_ready()
        self.wait_up()

    def wait_up(self):
        supervise.wait_until(lambda: self.control.ask("show", "vm0")["state"] in ("listening", "connected"), SECONDS,
                             "the port is up")

    def files(self):
        return [os.stat(path).st_ino for path in (self.socket, self.rpc)]

    def descriptors(self):
        """What the daemon has open, without numbers."""
        directory = pathlib.Path(f"/proc/{self.manager.process.pid}/fd")
        return len(list(directory.iterdir()))


@pytest.fixture
def rig(supervisor, build):
    one = Rig(supervisor, build)
    one.begin()
    return one


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_nobody_is_refused_while_the_daemon_is_replaced(rig, way):
    rig.frontend.start()
    rig.frontend.connect()
    rig.frontend.do("direct")
    assert rig.manager.stored() == ["kept-port-vm0", "kept-rpc"]
    files = rig.files()
    assert getattr(rig.manager, way)() == {"stop": 0, "kill": -9}[way]
    # Nobody runs now: who comes is neither refused nor served, and waits.
    assert rig.files() == files
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(rig.rpc)
        asker.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "version"}\n')
        rig.frontend.send("connect")
        rig.manager.start()
        rig.manager.wait_ready()
        asker.settimeout(SECONDS)
        assert b'"jsonrpc"' in asker.recv(4096)
    rig.frontend.finish()
    rig.frontend.do("direct")
    assert rig.files() == files
    assert rig.manager.stored() == ["kept-port-vm0", "kept-rpc"]


def test_descriptors_do_not_pile_up(rig):
    counts = []
    for _ in range(3):
        rig.manager.stop()
        rig.manager.start()
        rig.manager.wait_ready()
        rig.wait_up()
        counts.append(rig.descriptors())
    assert len(set(counts)) == 1, counts
    assert rig.manager.stored() == ["kept-port-vm0", "kept-rpc"]


def test_a_removed_port_leaves_the_store(rig):
    rig.control.ask("remove", "vm0")
    supervise.wait_until(lambda: rig.manager.stored() == ["kept-rpc"], SECONDS, "the store forgets the port")
    assert not os.path.exists(rig.socket)


def test_what_breaks_a_rule_is_refused_in_words(rig):
    rig.manager.stop()
    with open("/dev/null", "rb") as file, socket.socket(socket.AF_UNIX) as silent:
        rig.manager.put("kept-port-vm1", file.fileno())
        rig.manager.put("kept-port-vm2", silent.fileno())
        rig.manager.put("somebody's", silent.fileno())
        rig.manager.start()
        rig.manager.wait_ready()
    log = rig.manager.process.log()
    assert "event=descriptor-refused" in log
    for words in ("found no socket", "found a socket that does not listen", "found the name"):
        assert words in log
    supervise.wait_until(lambda: rig.manager.stored() == ["kept-port-vm0", "kept-rpc"], SECONDS, "the rest is removed")
    rig.wait_up()


def test_a_port_that_is_gone_and_its_socket(rig):
    """The successor's configuration has no port any more: after its time the socket is gone too."""
    rig.manager.stop()
    pathlib.Path(rig.supervisor.path("ringpassd.conf")).write_text("ports = ( );\n", encoding="utf-8")
    rig.manager.start()
    rig.manager.wait_ready()
    supervise.wait_until(lambda: rig.manager.stored() == ["kept-rpc"], SECONDS, "the socket is dropped")
    assert not os.path.exists(rig.socket)
    assert f"event=socket-dropped {rig.socket}" in rig.manager.process.log()


def test_a_socket_unit(rig):
    """Its socket is served, not put into the store, and its file outlives the daemon."""
    rig.manager.stop()
    os.unlink(rig.socket)
    with socket.socket(socket.AF_UNIX) as unit:
        unit.bind(rig.socket)
        unit.listen()
        rig.manager.start([("port-vm0", unit.fileno())])
        rig.manager.wait_ready()
        rig.frontend.start()
        rig.frontend.connect()
        supervise.wait_until(lambda: rig.manager.stored() == ["kept-rpc"], SECONDS, "the old one is removed")
        assert rig.manager.stop() == 0
        assert os.path.exists(rig.socket)
