# SPDX-License-Identifier: BSD-3-Clause
"""In the hardware VM: ringpassd on a function of vfio-pci is replaced under a service manager.

    hand_over_inside.py BUILD ADDRESS GROUP

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
from ringpass_stack.programs import Build, Control, Port  # noqa: E402
from ringpass_testvm import Supervisor, supervise  # noqa: E402
from service_manager import ServiceManager  # noqa: E402

MAC, PEER_MAC = "52:54:00:00:01:01", "52:54:00:00:01:00"
ADDRESS, PEER_ADDRESS = "192.0.2.2", "192.0.2.1"
SECONDS = 120


def open_by_another(group):
    """@return the name of the error with which somebody else opens the group; "" when it can be opened."""
    try:
        os.close(os.open(f"/dev/vfio/{group}", os.O_RDWR))
    except OSError as error:
        return errno.errorcode[error.errno]
    return ""


def main(directory, device, group):
    build = Build(directory)
    found = {"stored": [], "between": [], "logs": []}
    with Supervisor("hand-over") as supervisor:
        # The doorbell stays here: a frontend that has it would hold the device's file when the daemon is gone.
        port = Port("vm0", supervisor.path("vm0.sock"), [f"vfio,device={device}"], queue_pairs=1,
                    more={"doorbell": '"relay"'})
        config = pathlib.Path(supervisor.path("ringpassd.conf"))
        config.write_text(f"ports = ( {port.text()} );\n", encoding="utf-8")
        control = Control(build, supervisor.path("rpc.sock"))
        manager = ServiceManager(supervisor, [build.program("ringpassd"), "--config", str(config), "--rpc",
                                              supervisor.path("rpc.sock"), "--hand-over"])
        supervisor.on_close(manager.close)
        frontend = Frontend(supervisor, build, port.socket, 1, MAC, ADDRESS, PEER_MAC, PEER_ADDRESS)
        frontend.start()

        def begin():
            manager.start()
            manager.wait_ready()
            frontend.connect()
            supervise.wait_until(lambda: control.show("vm0")["queues"][0]["mode"] == "relayed", SECONDS,
                                 "hardware serves", manager.process.require_alive)
            found["stored"].append(manager.stored())

        begin()
        for end in (manager.stop, manager.kill):
            end()
            found["between"].append(open_by_another(group))
            begin()
            found["logs"].append(manager.process.log())
        control.ask("remove", "vm0")
        supervise.wait_until(lambda: open_by_another(group) == "", SECONDS, "the group is free")
        found["stored"].append(manager.stored())
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
