# SPDX-License-Identifier: BSD-3-Clause
"""One hardware VM with every shape of hardware, a ringpassd over it, and a nested guest with a card on each port."""

import contextlib
import dataclasses
import os

from ringpass_hwvm import Function, HardwareVm, wire
from ringpass_stack.programs import Port
from ringpass_testvm import Nic, TestvmError, VhostUser

MODE_SECONDS = 300
PINGS = 5
# A rig that cannot be made fails the tests of a file soon, but not for one bad moment of a loaded machine.
STARTS = 2
# The shapes of a ring that a guest's driver has just made.
DIRECT, RELAYED = "direct", "relayed"
REBIND = """
driver=/sys/bus/virtio/drivers/virtio_net
for device in $(cd $driver && ls -d virtio*); do
    echo $device >$driver/unbind
    echo $device >$driver/bind
done
"""


@dataclasses.dataclass
class Shape:
    """A port: which functions it is over, and how its rings are served when they are fresh."""

    functions: list
    pairs: int = 1
    packed: bool = False
    fresh: object = DIRECT  # a mode, or {queue: mode}
    container: str = ""  # that all its functions are in; empty: each in one of its own
    options: dict = dataclasses.field(default_factory=dict)


# Device memory of the second function of "two" for the first. Only one of these can be mapped.
WINDOW_IOVA = 0x3000000000
WINDOWS = {
    "mapped": f'"of=1,bar=4,to=0,iova={WINDOW_IOVA:#x}"',
    "misaligned": f'"of=1,bar=4,to=0,offset=0x1000,size=0x1800,iova={WINDOW_IOVA + (1 << 32):#x}"',
    "interrupts": f'"of=1,bar=1,to=0,iova={WINDOW_IOVA + (2 << 32):#x}"',
    "unreachable": '"of=1,bar=4,to=0,size=0x1000,iova=0xfee00000"',
}

SHAPES = {
    "split": Shape([0], options={"mac": '"52:54:00:00:03:00"'}),
    "packed": Shape([1], packed=True),
    "pairs": Shape([2], 2),
    # The second function knows the queues by other numbers than the guest does: no doorbell can be handed out.
    "two": Shape([3, 4], 2, fresh={0: DIRECT, 1: DIRECT, 2: RELAYED, 3: RELAYED}, container="two",
                 options={"windows": f"( {', '.join(WINDOWS.values())} )"}),
    "page": Shape([5], fresh=RELAYED),
}
# Functions that no port uses: what is wrong with them is for the tests of bad input.
FEW_VECTORS, LEGACY = 6, 7


def functions():
    def tap(number):
        return f"hw{os.getpid()}.{number}"
    return [
        Function(packed=True, tap=tap(0)),
        Function(packed=True, tap=tap(1), root_port=True),
        Function(queues=SHAPES["pairs"].pairs, tap=tap(2)),
        Function(tap=tap(3), root_port=True),
        Function(tap=tap(4)),
        Function(tap=tap(5), page_per_vq=False),
        Function(vectors=1, shared_group=True),
        Function(modern=False, driver="", shared_group=True),
    ]


class Rig:
    def __init__(self, supervisor, build, store):
        self.host = HardwareVm(supervisor, functions(), store, memory_mib=1536, build=build)
        self.guest = None
        self.ringpassd = None

    def _ports(self):
        address = self.host.address
        return [Port(name, f"/run/{name}.sock",
                     [f"vfio,device={address(index)}" + (f",container={shape.container}" if shape.container else "")
                      for index in shape.functions],
                     "server", shape.pairs, shape.options) for name, shape in SHAPES.items()]

    def start_ringpassd(self):
        ports = ",\n".join(port.text() for port in self._ports())
        self.ringpassd = self.host.start_ringpassd(f"ports = (\n{ports}\n);")

    def start(self):
        self.host.start()
        self.start_ringpassd()
        nics = [Nic(VhostUser(port.socket, reconnect=1), f"52:54:00:00:03:{number:02x}", port.queue_pairs,
                    packed=SHAPES[port.name].packed) for number, port in enumerate(self._ports())]
        self.guest = self.host.guest(nics, cpus=2, memory_slots=1)
        self.guest.start()
        self.set_addresses()

    def set_addresses(self):
        script = ""
        for number, shape in enumerate(SHAPES.values()):
            script += "".join(f"ip addr add {wire.guest(index)} dev eth{number}\n" for index in shape.functions)
            script += f"ip link set eth{number} up\n"
        self.guest.run(script)

    def reload_driver(self):
        """The rings are fresh after it."""
        self.guest.run(REBIND)
        self.set_addresses()

    def show(self, name):
        return self.host.control.show(name)

    def wait(self, name, modes):
        return self.host.control.wait_modes(name, modes, MODE_SECONDS, self.host.require_alive)

    def wait_fresh(self):
        for name, shape in SHAPES.items():
            self.wait(name, shape.fresh)

    def make_fresh(self):
        """What an earlier test has left is gone."""
        self.guest.require_alive()
        shown = {name: {queue["queue"]: queue["mode"] for queue in self.show(name)["queues"]} for name in SHAPES}
        wanted = {name: shape.fresh if isinstance(shape.fresh, dict) else dict.fromkeys(shown[name], shape.fresh)
                  for name, shape in SHAPES.items()}
        if shown != wanted:
            self.reload_driver()
            self.wait_fresh()

    def require_traffic(self, name, cpu=0):
        """By each function of a port; the guest sends from that CPU, which is from that queue pair."""
        for index in SHAPES[name].functions:
            self.require_answers(index, cpu)

    def require_answers(self, index, cpu=0):
        text = self.guest.run(f"taskset {1 << cpu} ping -c {PINGS} -i 0.1 -W 10 {wire.peer(index)}", 60).output
        assert f"{PINGS} packets received" in text, text

    def require_all_traffic(self):
        for name in SHAPES:
            self.require_traffic(name)

    def log_since(self, mark=0):
        return self.ringpassd.log()[mark:]

    def log_size(self):
        return len(self.ringpassd.log())


class Shared:
    """One rig for several tests. A rig that is lost is the failure of one test; the next one gets another."""

    def __init__(self, make):
        """make: a context manager without arguments, whose value is a rig that was started."""
        self._make = make
        self._rig = None
        self._stack = contextlib.ExitStack()
        self._failures = []

    def _lost(self):
        try:
            self._rig.host.vm.run("true")
        except TestvmError as error:
            print(f"the machine is lost, and made anew: {error}", flush=True)
            return True
        return False

    def get(self):
        """@return a rig whose rings are fresh."""
        if self._rig and self._lost():
            self.close()
        if not self._rig:
            self._start()
        try:
            self._rig.make_fresh()
        except TestvmError:
            self.close()  # what is the matter with it is said once
            raise
        return self._rig

    def _start(self):
        if len(self._failures) == STARTS:
            raise TestvmError(f"not tried again after {STARTS} failures: {self._failures[-1]}")
        try:
            self._rig = self._stack.enter_context(self._make())
        except TestvmError as error:
            self._failures.append(error)
            raise

    def close(self):
        self._rig = None
        self._stack.close()
