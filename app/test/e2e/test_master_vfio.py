# SPDX-License-Identifier: BSD-3-Clause
"""VFIO groups and doorbells of real VFIO devices, handed to examples/master, which runs a guest under KVM on them."""

import json
import os

import pytest

from ringpass_hwvm import Function, HardwareVm
from ringpass_stack.programs import Port
from ringpass_testvm.supervise import wait_until

SECONDS = 300
PACKETS = 30
HARDWARE = {
    "a group each": [Function(packed=True), Function(packed=True)],
    "one group": [Function(packed=True, shared_group=True), Function(packed=True, shared_group=True)],
}


def socket(name):
    return f"/run/{name}.sock"


def port(host, name, profile, functions):
    devices = [f"vfio,device={host.address(index)}" for index in functions]
    return Port(name, socket(name), devices, queue_pairs=len(functions), more={"profile": f'"{profile}"'}).text()


class Master:
    """Stands when its rings have started, and again when its work is done; its doorbells come meanwhile."""

    def __init__(self, host, name, profile, pairs, *more):
        self._host = host
        self._name = name
        self._go = f"/run/{name}.go"
        program = os.path.join(host.build.directory, "examples", "master", "master")
        # Both ends of the pipe are its own, so that it never ends.
        self.process = host.spawn(name, f"rm -f {self._go} && mkfifo {self._go} && exec {program} {socket(name)} "
                                  f"--profile {profile} --guest --queue-pairs {pairs} --rounds 1 --packets {PACKETS} "
                                  f"--wait 0 --pause --json {' '.join(more)} <>{self._go}")

    def wait_started(self, modes):
        self.process.wait_for_line("the rings have started", SECONDS)

        def reached():
            queues = self._host.ctl("show", self._name)["queues"]
            return [queue["mode"] for queue in sorted(queues, key=lambda queue: queue["queue"])] == modes
        wait_until(reached, SECONDS, f"{self._name}: queues {modes}", self.process.require_alive)

    def finish(self):
        """@return what it says."""
        for moment in ("the rings have started", "the work is done"):
            self.process.wait_for_line(moment, SECONDS)
            self._host.run(f"echo >{self._go}")
        assert self.process.wait(SECONDS) == 0, self.process.log()
        return json.loads(self.process.log().splitlines()[-1])


def kicks(host, index):
    """What the hardware has seen of a function's first pair: [receive, transmit]."""
    return [host.kicks(index).get(queue, 0) for queue in (0, 1)]


def require_done(seen):
    for queue in seen["queues"]:
        assert queue["guest_kicks"] == queue["doorbell_kicks"] + queue["eventfd_kicks"] > 0
    for queue in seen["queues"][1::2]:
        assert queue["chains"] == PACKETS
        assert queue["interrupts"] > 0


def require_direct(queues):
    for queue in queues:
        assert queue["doorbell"]
        assert queue["eventfd_kicks"] == 0


@pytest.mark.parametrize("hardware, files", [("a group each", 2), ("one group", 1)])
def test_one_port_over_two_functions(supervisor, build, store, hardware, files):
    """As many files as there are groups. A guest writes its own number of a queue, which the second function has not,
    and it does not go by the address: there kicks are an ioeventfd, and relayed."""
    host = HardwareVm(supervisor, HARDWARE[hardware], store, build=build).start()
    for profile in ("extended", "vfio2018"):
        host.start_ringpassd(f"ports = ( {port(host, profile, profile, (0, 1))} );")
        for rings in ([], ["--packed"]):
            before = kicks(host, 0)
            master = Master(host, profile, profile, 2, *rings)
            master.wait_started(["direct", "direct", "relayed", "relayed"])
            seen = master.finish()
            require_done(seen)
            require_direct(seen["queues"][:2])
            assert not any(queue["doorbell"] for queue in seen["queues"][2:])
            assert (seen["vfio_files"], seen["files_added"], seen["files_removed"]) == (files, files, files)
            # What ringpassd kicks when a ring starts is not the guest's.
            for old, new, queue in zip(before, kicks(host, 0), seen["queues"]):
                assert new - old >= queue["doorbell_kicks"]
        host.ringpassd.stop()


def test_two_guests_in_one_group(supervisor, build, store):
    """The group's functions have one address space: the second guest is refused, and the first one does not notice."""
    host = HardwareVm(supervisor, HARDWARE["one group"], store, build=build).start()
    names = ("a", "b")
    host.start_ringpassd("ports = (\n" + ",\n".join(port(host, name, "extended", (index,))
                                                   for index, name in enumerate(names)) + "\n);")
    first = Master(host, "a", "extended", 1)
    first.wait_started(["direct", "direct"])
    second = Master(host, "b", "extended", 1)
    assert second.process.wait(SECONDS) == 1
    assert "SET_MEM_TABLE: refused by the backend" in second.process.log()
    seen = first.finish()
    require_done(seen)
    require_direct(seen["queues"])
    assert (seen["files_added"], seen["files_removed"]) == (1, 1)
    host.ringpassd.require_alive()
