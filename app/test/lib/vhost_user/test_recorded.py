# SPDX-License-Identifier: BSD-3-Clause
"""What real QEMUs said (recorded/*.txt) is said again to our backend: nothing is refused, every answer is there."""

import pathlib
import re

import pytest

import spoken

RECORDED = pathlib.Path(__file__).resolve().parent / "recorded"
IDS = spoken.FRONTEND_IDS
FEATURES, PROTOCOL_FEATURES = 0x574678003, 0xC2F  # what the recorded backends offered
MEMORY = 0x10000000
NOT_RECORDED_UVA = 0x7F0000000000
NOTIFIER = 3


def parse(line):
    """'>> NAME 0x9 fds=1 q0 num=256 {gpa=...}' as (way, name, flags, values, regions)."""
    way, rest = line.split(" ", 1)
    regions = [dict((key, int(value, 0)) for key, value in re.findall(r"(\w+)=(\w+)", text))
               for text in re.findall(r"\{(.*?)\}", rest)]
    rest = re.sub(r"\{.*?\}", "", rest)
    name, *words = rest.split()
    flags = int(words[0], 0) if words and words[0].startswith("0x") else None
    values = {key: int(value, 0) for key, value in re.findall(r"(\w+)=(\w+)", rest)}
    queue = re.search(r"\bq(\d+)\b", rest)
    if queue:
        values["queue"] = int(queue.group(1))
    return way, name, flags, values, regions


class Player:
    def __init__(self, lines):
        self.steps = [parse(line) for line in lines if not line.startswith("#")]
        queues = 1 + max(step[3].get("queue", 1) for step in self.steps)
        offered = {name: values["u64"] for way, name, _flags, values, _regions in self.steps
                   if way == "<<" and name.startswith("GET_") and "u64" in values}
        self.program = spoken.Program("speak_backend", "standard", hex(offered.get("GET_FEATURES", FEATURES)),
                                      hex(PROTOCOL_FEATURES | spoken.mask("CONFIGURE_MEM_SLOTS")), queues)
        self.offered = dict(offered, GET_PROTOCOL_FEATURES=PROTOCOL_FEATURES | spoken.mask("CONFIGURE_MEM_SLOTS"))
        self.line, self.wire, self.files = self.program.line, self.program.wire, spoken.Files()
        self.channel, self.acks, self.uva, self.expected = None, False, NOT_RECORDED_UVA, []
        self.addresses, self.memory, self.waiting = {}, {}, 0
        self.queues = queues

    def payload_of_ring(self, values):
        queue = values["queue"]
        desc = values.get("desc") or self.addresses.get(queue, {}).get("desc") or self.uva + 0x100000 * (queue + 1)
        used = values.get("used", desc + 0x1240)
        avail = values.get("avail", desc + 0x1000)
        return self.wire.addr(queue, values.get("fl", 0), desc, used, avail, values.get("log", 0))

    def payload(self, name, values, regions):
        wire = self.wire
        if name in ("SET_MEM_TABLE", "ADD_MEM_REG", "REM_MEM_REG"):
            described = [(r["gpa"], r["sz"], r.get("uva", NOT_RECORDED_UVA), r["off"]) for r in regions]
            if name == "SET_MEM_TABLE":
                self.uva = described[0][2]
            return wire.table(*described) if name == "SET_MEM_TABLE" else wire.slot(*described[0])
        if name == "SET_VRING_ADDR":
            return self.payload_of_ring(values)
        if name in ("SET_VRING_NUM", "SET_VRING_BASE", "GET_VRING_BASE", "SET_VRING_ENABLE"):
            return wire.state(values["queue"], values["num"])
        if name in ("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"):
            return wire.u64(values["queue"])
        if name == "SET_LOG_BASE":
            return wire.log(values["size"], values["off"])
        return wire.u64(values["u64"]) if "u64" in values else b""

    def memory_file(self, region):
        """A region that is described again is the same file."""
        if region["gpa"] not in self.memory:
            self.memory[region["gpa"]] = self.files.memory(region["sz"] + region["off"])
        return self.memory[region["gpa"]]

    def descriptors(self, name, regions):
        if name in ("SET_MEM_TABLE", "ADD_MEM_REG"):
            return [self.memory_file(region) for region in regions]
        if name == "SET_LOG_BASE":
            return [self.files.memory(0x2000)]
        if name in ("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"):
            return [self.files.eventfd()]
        if name == "SET_BACKEND_REQ_FD":
            ours, theirs = self.files.socketpair()
            self.channel = spoken.Line(ours, self.wire)
            return [theirs]
        return []

    def request(self, name, flags, values, regions=()):
        always = name.startswith("GET_") or name == "SET_LOG_BASE"
        self.line.send(IDS[name], self.payload(name, values, regions), self.descriptors(name, regions), flags=flags)
        if name == "SET_PROTOCOL_FEATURES":
            self.acks = bool(values["u64"] & spoken.mask("REPLY_ACK"))
        if not always and not (flags & spoken.NEED_REPLY and self.acks):
            return
        message = self.line.receive()
        assert (message.request, message.flags, message.fds) == (IDS[name], 0x5, [])
        if name in self.offered:
            assert message.payload == self.wire.u64(self.offered[name])
        elif name == "GET_VRING_BASE":
            assert self.wire.unpack("II", message.payload)[0] == values["queue"]
        elif not name.startswith("GET_"):
            assert message.payload == self.wire.u64(0), name

    def backend_asks(self, values):
        self.waiting += 1
        self.request("GET_FEATURES", 0x1, {})  # answered: all before it was done
        self.program.tell(f"area_set {values['queue']} {values['off']} {values['size']} {self.waiting}")
        message = self.channel.receive()
        assert message.request == NOTIFIER
        assert message.payload == self.wire.area(values["queue"], values["size"], values["off"])
        message.close()

    def play(self):
        for way, name, flags, values, regions in self.steps:
            if way == ">>":
                self.request(name, flags, values, regions)
            elif way == "!>":
                self.backend_asks(values)
            elif way == "!<":
                self.channel.send(NOTIFIER, self.wire.u64(int(name.split("=")[1], 0)), flags=0x5)

    def begin(self, running):
        """For recordings that begin in the middle: what must have been said before."""
        first = [values for way, name, _flags, values, _regions in self.steps
                 if (way, name) == (">>", "SET_VRING_ADDR")]
        tables = [regions for way, name, _flags, _values, regions in self.steps
                  if (way, name) == (">>", "SET_MEM_TABLE")]
        for values in first:
            self.addresses.setdefault(values["queue"], values)
        if tables:
            self.uva = tables[0][0]["uva"]
        elif first:
            self.uva = first[0]["used"] - first[0]["log"]
        self.request("SET_PROTOCOL_FEATURES", 0x1, {"u64": PROTOCOL_FEATURES | spoken.mask("CONFIGURE_MEM_SLOTS")})
        self.request("SET_BACKEND_REQ_FD", 0x9, {})
        self.request("SET_FEATURES", 0x1, {"u64": 0x170208003})
        self.request("SET_MEM_TABLE", 0x9, {}, [{"gpa": 0, "sz": MEMORY, "uva": self.uva, "off": 0}])
        for queue in range(self.queues if running else 0):
            values = dict(self.addresses.get(queue, {}), queue=queue, num=256, fl=0)
            self.request("SET_VRING_NUM", 0x1, values)
            self.request("SET_VRING_ADDR", 0x1, values)
            self.request("SET_VRING_KICK", 0x1, values)

    def end(self):
        self.files.close()
        if self.channel:
            self.channel.close()
        return self.program.end()


def facts(said, word):
    return [line for line in said if line.startswith(word)]


# name: (None: from the beginning, else whether rings run before it; rings started in it; stopped at its end or before)
EXPECTED = {
    "announce": (True, 0, 2),
    "boot-7.2": (None, 2, 2),
    "memory-hotplug-11.1": (True, 0, 2),
    "memory-hotplug-7.2": (True, 0, 2),
    "memory-slots-11.1": (True, 0, 2),
    "memory-slots-7.2": (True, 0, 2),
    "migration-destination-11.1": (None, 2, 2),
    "migration-destination-7.2": (None, 2, 2),
    "migration-source-11.1": (True, 0, 2),
    "migration-source-7.2": (True, 0, 2),
    "multiqueue-11.1": (None, 4, 4),
    "reboot-stop-cont-7.2": (False, 8, 8),
}


def test_every_recording_is_played():
    assert sorted(path.stem for path in RECORDED.glob("*.txt")) == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_nothing_that_qemu_said_is_refused(name):
    running, started, stopped = EXPECTED[name]
    player = Player((RECORDED / f"{name}.txt").read_text().splitlines())
    if running is not None:
        player.begin(running)
    try:
        player.play()
    finally:
        said = player.end()
    assert facts(said, "refused") == []
    assert len(facts(said, "vring_start")) == started + (2 if running else 0)
    assert len(facts(said, "vring_stop")) == stopped
    assert len(facts(said, "region_add")) == len(facts(said, "region_remove")) > 0
    assert len(facts(said, "disconnected -107")) == 1
    macs = [player.wire.u64(step[3]["u64"])[:6].hex(":") for step in player.steps if step[1] == "SEND_RARP"]
    assert facts(said, "rarp") == [f"rarp {mac}" for mac in macs]
    assert len(facts(said, "channel_reply")) == sum(step[0] == "!>" for step in player.steps)
