# SPDX-License-Identifier: BSD-3-Clause
"""In the hardware VM: ringpassd on a function of vfio-pci is replaced under a service manager.

    hand_over_inside.py BUILD ADDRESS GROUP anew    its rings begin anew with each ringpassd
    hand_over_inside.py BUILD ADDRESS GROUP live    they run all the time; a line on standard input after BEFORE, and after AFTER

Prints what it found as one JSON line; test_hand_over_vfio.py judges it.
"""

import errno
import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[2] / "usertools"))

from frontend import Frontend  # noqa: E402
from ringpass_hwvm import wire  # noqa: E402
from ringpass_stack.programs import Build, Control, Port  # noqa: E402
from ringpass_testvm import Supervisor, supervise  # noqa: E402
from service_manager import ServiceManager  # noqa: E402

MAC = "52:54:00:00:01:01"
ADDRESS, PEER_ADDRESS = wire.guest(0).partition("/")[0], wire.peer(0)
SECONDS = 120


class Rig:
    """A port on the function, its frontend, and who starts ringpassd."""

    def __init__(self, supervisor, build, device, group, more):
        self.group = group
        port = Port("vm0", supervisor.path("vm0.sock"), [f"vfio,device={device}"], queue_pairs=1, more=more)
        config = pathlib.Path(supervisor.path("ringpassd.conf"))
        config.write_text(f"ports = ( {port.text()} );\n", encoding="utf-8")
        rpc = supervisor.path("rpc.sock")
        self.control = Control(build, rpc)
        self.manager = ServiceManager(supervisor, [build.program("ringpassd"), "--config", str(config), "--rpc", rpc,
                                                   "--hand-over"])
        supervisor.on_close(self.manager.close)
        self.frontend = Frontend(supervisor, build, port.socket, 1, MAC, ADDRESS, wire.PEER_MAC, PEER_ADDRESS)
        self.frontend.start()

    def start(self):
        self.manager.start()
        self.manager.wait_ready()

    def queues(self):
        return self.control.show("vm0")["queues"]

    def modes(self):
        return sorted({queue["mode"] for queue in self.queues()})

    def wait_mode(self, mode):
        supervise.wait_until(lambda: self.modes() == [mode], SECONDS, f"the rings are {mode}",
                             self.manager.process.require_alive)

    def open_by_another(self):
        """@return the name of the error with which somebody else opens the group; "" when it can be opened."""
        try:
            os.close(os.open(f"/dev/vfio/{self.group}", os.O_RDWR))
        except OSError as error:
            return errno.errorcode[error.errno]
        return ""

    def remove(self):
        self.control.ask("remove", "vm0")
        supervise.wait_until(lambda: self.open_by_another() == "", SECONDS, "the group is free")


def anew(rig):
    """After a plain stop and after a crash the group is there, and the rings begin anew."""
    found = {"stored": [], "between": [], "logs": []}

    def begin():
        rig.start()
        rig.frontend.connect()
        rig.wait_mode("relayed")
        found["stored"].append(rig.manager.stored())

    begin()
    for end in (rig.manager.stop, rig.manager.kill):
        end()
        found["between"].append(rig.open_by_another())
        begin()
        found["logs"].append(rig.manager.process.log())
    rig.remove()
    found["stored"].append(rig.manager.stored())
    return found


def pause(where):
    print(where, flush=True)
    sys.stdin.readline()


def live(rig):
    """Hand-overs while the guest's pings go on; between two ringpassd nobody is there."""
    found = {"stored": [], "between": [], "said": [], "after": [], "logs": []}
    rig.start()
    rig.frontend.connect()
    rig.frontend.do("traffic on")
    rig.frontend.do("direct")
    rig.frontend.wait_traffic()
    found["maps"] = [rig.frontend.counts()["maps"]]
    pause("BEFORE")
    for way in ("command", "signal", "command"):
        if way == "command":
            found["said"].append(rig.control.ask("hand-over")["ports"])
            status = rig.manager.ended()
        else:
            status = rig.manager.replace_by_signal()
        found["between"].append([status, rig.open_by_another()])
        rig.frontend.wait_traffic()
        rig.start()
        found["after"].append([rig.control.show("vm0")["state"], rig.modes(),
                               sorted({queue["doorbell_maps"] for queue in rig.queues()})])
        rig.frontend.wait_traffic()
        found["stored"].append(rig.manager.stored())
        found["logs"].append(rig.manager.process.log())
    found["counts"] = rig.frontend.counts()
    found["maps"].append(found["counts"]["maps"])
    pause("AFTER")
    # What the last one can do with a device that it never opened. Of class B, in mid-life: by private rings.
    rig.frontend.do("stop")
    rig.frontend.do("cont")
    rig.wait_mode("shadow")
    rig.frontend.wait_traffic()
    rig.remove()
    return found


def main(directory, device, group, way):
    build = Build(directory)
    # With a doorbell that was handed out a frontend has the device's file, also when the daemon is gone.
    more = {"doorbell": '"relay"'} if way == "anew" else {"doorbell_delay_ms": 5}
    with Supervisor("hand-over") as supervisor:
        rig = Rig(supervisor, build, device, group, more)
        found = anew(rig) if way == "anew" else live(rig)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
