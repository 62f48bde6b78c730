# SPDX-License-Identifier: BSD-3-Clause
"""Each message to a backend, as bytes made from the specification, and what the backend's owner is told of it."""

import os

import pytest

import spoken

FEATURES = 1 << 32 | 1 << 30
ALL = spoken.mask("MQ", "RARP", "REPLY_ACK", "MTU", "BACKEND_REQ", "CONFIG", "BACKEND_SEND_FD", "HOST_NOTIFIER",
                  "RESET_DEVICE", "CONFIGURE_MEM_SLOTS", "STATUS")
IDS = spoken.FRONTEND_IDS
UVA, GPA, SIZE = 0x7F0000000000, 0x40000000, 0x200000


class Frontend:
    def __init__(self, profile="standard", protocol_features=ALL, queues=4, features=FEATURES):
        self.program = spoken.Program("speak_backend", profile, hex(features), hex(protocol_features), queues)
        self.features = features
        self.offered = protocol_features
        self.line, self.wire, self.files = self.program.line, self.program.wire, spoken.Files()
        self.channel = None

    def send(self, name, payload=b"", fds=(), need_reply=True, **more):
        flags = spoken.VERSION | (spoken.NEED_REPLY if need_reply else 0)
        self.line.send(IDS[name], payload, fds, flags=flags, **more)

    def get(self, name, payload=b""):
        self.send(name, payload, need_reply=False)
        return self.answer(name)

    def answer(self, name):
        message = self.line.receive()
        assert (message.request, message.flags) == (IDS[name], 0x5)
        assert message.fds == []
        return message.payload

    def acked(self, name, payload=b"", fds=(), **more):
        self.send(name, payload, fds, **more)
        assert self.answer(name) == self.wire.u64(0)

    def refused(self, name, payload=b"", fds=(), **more):
        self.send(name, payload, fds, **more)
        assert self.answer(name) == self.wire.u64(1)

    def told(self, *lines):
        assert [self.program.hear() for _ in lines] == list(lines)

    def negotiate(self, protocol_features=ALL):
        self.send("SET_PROTOCOL_FEATURES", self.wire.u64(protocol_features), need_reply=False)
        self.send("SET_FEATURES", self.wire.u64(self.features), need_reply=False)
        self.told(f"features {self.features:#x}")
        self.channel, theirs = self.files.socketpair()
        self.channel = spoken.Line(self.channel, self.wire)
        self.acked("SET_BACKEND_REQ_FD", fds=[theirs])
        self.told("channel_up")

    def memory(self):
        self.acked("SET_MEM_TABLE", self.wire.table((GPA, SIZE, UVA, 0)), [self.files.memory(SIZE)])
        self.told(f"region_add {GPA:#x} {SIZE:#x} {UVA:#x} 0x0 fd")

    def start(self, queue):
        at = UVA + queue * 0x10000
        self.send("SET_VRING_NUM", self.wire.state(queue, 256), need_reply=False)
        self.send("SET_VRING_BASE", self.wire.state(queue, 7), need_reply=False)
        self.send("SET_VRING_ADDR", self.wire.addr(queue, 0, at, at + 0x4000, at + 0x8000), need_reply=False)
        self.send("SET_VRING_KICK", self.wire.u64(queue), [self.files.eventfd()], need_reply=False)
        gpa = GPA + queue * 0x10000
        self.told(f"vring_start {queue} num=256 base=0x7 desc={gpa:#x} avail={gpa + 0x8000:#x} used={gpa + 0x4000:#x} "
                  "enabled=0 kick=1 call=0")

    def end(self):
        self.files.close()
        if self.channel:
            self.channel.close()
        return self.program.end()


@pytest.fixture
def frontend():
    frontend = Frontend()
    yield frontend
    lines = frontend.end()
    assert lines[-1].startswith("disconnected -107 ") and not any(line.startswith("refused") for line in lines)


def test_what_is_offered(frontend):
    assert frontend.get("GET_FEATURES") == frontend.wire.u64(FEATURES)
    assert frontend.get("GET_PROTOCOL_FEATURES") == frontend.wire.u64(ALL)
    frontend.negotiate()
    assert frontend.get("GET_QUEUE_NUM") == frontend.wire.u64(4)
    assert frontend.get("GET_MAX_MEM_SLOTS") == frontend.wire.u64(32)


def test_owner_and_reset(frontend):
    frontend.negotiate()
    frontend.acked("SET_OWNER")
    frontend.acked("RESET_OWNER")
    frontend.acked("RESET_DEVICE")
    frontend.told("reset")  # RESET_OWNER only disables rings, and none is enabled


def test_memory(frontend):
    frontend.negotiate()
    frontend.memory()
    second = (0x100000000, 0x8000, 0x7E0000000000, 0x1000)
    frontend.acked("ADD_MEM_REG", frontend.wire.slot(*second), [frontend.files.memory(0x9000)])
    frontend.told("region_add 0x100000000 0x8000 0x7e0000000000 0x1000 fd")
    frontend.acked("REM_MEM_REG", frontend.wire.slot(*second))
    frontend.told("region_remove 0x100000000")


def test_a_ring(frontend):
    frontend.negotiate()
    frontend.memory()
    frontend.start(1)
    frontend.acked("SET_VRING_CALL", frontend.wire.u64(1), [frontend.files.eventfd()])
    frontend.acked("SET_VRING_ERR", frontend.wire.u64(1), [frontend.files.eventfd()])
    frontend.acked("SET_VRING_CALL", frontend.wire.u64(1 | spoken.NOFD))
    frontend.acked("SET_VRING_ENABLE", frontend.wire.state(1, 1))
    frontend.told("vring_call 1 1", "vring_call 1 0", "vring_enable 1 1")
    assert frontend.get("GET_VRING_BASE", frontend.wire.state(1, 0)) == frontend.wire.state(1, 10)
    frontend.told("vring_stop 1 drain")


def test_the_smaller_messages(frontend):
    wire = frontend.wire
    frontend.negotiate()
    frontend.acked("SEND_RARP", bytes([0x52, 0x54, 0, 0x12, 0x34, 0x56, 0, 0]))
    frontend.acked("NET_SET_MTU", wire.u64(1500))
    frontend.acked("SET_STATUS", wire.u64(0xF))
    frontend.told("rarp 52:54:00:12:34:56", "mtu 1500", "status 0xf")
    assert frontend.get("GET_STATUS") == wire.u64(0xF)
    assert frontend.get("GET_CONFIG", wire.config(6, 3, 0, bytes(3))) == wire.config(6, 3, 0, bytes([6, 7, 8]))
    frontend.acked("SET_CONFIG", wire.config(8, 1, 0, b"\xab"))
    frontend.told("config_get 6 3", "config_set 8 1 flags=0 first=0xab")


def test_the_log_of_a_migration():
    frontend = Frontend(protocol_features=ALL | spoken.mask("LOG_SHMFD"), features=FEATURES | 1 << 26)
    wire = frontend.wire
    frontend.negotiate(ALL | spoken.mask("LOG_SHMFD"))
    frontend.memory()
    frontend.start(0)
    bits = frontend.files.memory(0x10000)
    frontend.send("SET_LOG_BASE", wire.log(0x9000, 0x100), [bits], need_reply=False)
    assert frontend.answer("SET_LOG_BASE") == wire.u64(0)
    frontend.told("log there")
    assert os.pread(bits, 0x10000, 0) == bytes(0x100) + b"\0\x02" + bytes(0x10000 - 0x102)
    frontend.acked("SET_LOG_FD", fds=[frontend.files.eventfd()])
    at = UVA
    frontend.acked("SET_VRING_ADDR", wire.addr(0, 1, at, at + 0x4000, at + 0x8000, GPA + 0x4000))
    frontend.told(f"vring_log 0 1 {GPA + 0x4000:#x}")
    frontend.end()


def test_what_is_in_flight():
    frontend = Frontend(protocol_features=ALL | spoken.mask("INFLIGHT_SHMFD"))
    wire = frontend.wire
    frontend.negotiate(ALL | spoken.mask("INFLIGHT_SHMFD"))
    queue = 16 + 4 * 16 + 48  # header, entries, up to a multiple of 64
    frontend.send("GET_INFLIGHT_FD", wire.inflight(0, 0, 2, 4) + b"\xaa" * 4, need_reply=False)
    message = frontend.line.receive()
    assert (message.request, message.flags) == (IDS["GET_INFLIGHT_FD"], 0x5)
    assert message.payload == wire.inflight(2 * queue, 0, 2, 4) + bytes(4)
    region, = message.fds
    assert os.pread(region, 4096, 0) == bytes(2 * queue)
    frontend.acked("SET_INFLIGHT_FD", wire.inflight(2 * queue, 0, 2, 4), [region])
    frontend.told("inflight 2 4 0")
    # features, version, desc_num, last_batch_head, used_idx; inflight, next, counter of each
    entries = [wire.pack("B5xHQ", int(i == 3), 0, 0) for i in range(4)]
    notes = wire.pack("QHHHH", 0, 1, 4, 0, 0x102) + b"".join(entries)
    assert os.pread(region, 4096, queue) == notes + bytes(queue - len(notes))
    message.close()
    frontend.end()


def test_translations():
    frontend = Frontend(features=FEATURES | 1 << 33)
    wire = frontend.wire
    frontend.negotiate()
    frontend.memory()
    frontend.acked("IOTLB_MSG", wire.iotlb(0xFFFF0000, 0x2000, UVA + 0x1000, 3, 2))
    frontend.told(f"iotlb_update 0xffff0000 0x2000 {UVA + 0x1000:#x} {GPA + 0x1000:#x} 3")
    frontend.acked("IOTLB_MSG", wire.iotlb(0, (1 << 64) - 1, 0, 0, 3))
    frontend.told("iotlb_invalidate 0x0 0xffffffffffffffff")
    frontend.program.tell("miss 4096 2 7")
    frontend.told("result 0 ")
    message = frontend.channel.receive()
    assert (message.request, message.flags, message.payload) == (1, 0x9, wire.iotlb(4096, 0, 0, 2, 1))
    frontend.channel.send(1, wire.u64(0), flags=0x5)
    frontend.told("channel_reply 7 0")
    frontend.end()


def test_one_byte_at_a_time(frontend):
    frontend.negotiate()
    frontend.acked("SET_MEM_TABLE", frontend.wire.table((GPA, SIZE, UVA, 0)), [frontend.files.memory(SIZE)], pieces=1)
    frontend.told(f"region_add {GPA:#x} {SIZE:#x} {UVA:#x} 0x0 fd")
    frontend.start(0)


def test_no_answer_without_reply_ack():
    features = ALL & ~spoken.mask("REPLY_ACK")
    frontend = Frontend(protocol_features=features)
    frontend.send("SET_PROTOCOL_FEATURES", frontend.wire.u64(features))
    frontend.send("SET_OWNER")
    assert frontend.get("GET_QUEUE_NUM") == frontend.wire.u64(4)
    assert frontend.line.silent()
    frontend.end()


# (profile, protocol features of the profile, number of the notify area message)
NOTIFY = [
    ("standard", 0, 3),
    ("extended", 1 << 62, 0x5601),
    ("vfio2018", 1 << 8, 4),
]


def profile_features(profile, bit):
    hidden = spoken.mask("HOST_NOTIFIER", "BACKEND_SEND_FD") if profile == "vfio2018" else 0
    return ALL & ~hidden | bit


@pytest.mark.parametrize("profile,bit,number", NOTIFY)
def test_a_notify_area(profile, bit, number):
    features = profile_features(profile, bit)
    frontend = Frontend(profile, features)
    frontend.negotiate(features)
    frontend.memory()
    frontend.start(2)
    frontend.program.tell("area_set 2 8192 4096 77")
    frontend.told("result 0 ")
    message = frontend.channel.receive()
    assert (message.request, message.flags) == (number, 0x9)
    assert message.payload == frontend.wire.area(2, 4096, 8192)
    assert len(message.fds) == 1
    message.close()
    frontend.channel.send(number, frontend.wire.u64(0), flags=0x5)
    frontend.told("channel_reply 77 0")
    frontend.program.tell("area_clear 2 78")
    frontend.told("result 0 ")
    message = frontend.channel.receive()
    assert (message.payload, message.fds) == (frontend.wire.area(2 | spoken.NOFD, 0, 0), [])
    frontend.channel.send(number, frontend.wire.u64(1), flags=0x5)
    frontend.told("channel_reply 78 -121")
    frontend.end()


@pytest.mark.parametrize("profile,bit,number", [("extended", 1 << 62, 0x5600), ("vfio2018", 1 << 8, 3)])
def test_a_vfio_file(profile, bit, number):
    features = profile_features(profile, bit)
    frontend = Frontend(profile, features)
    frontend.negotiate(features)
    named = number == 0x5600
    kinds = [0, 1] if named else [0]
    for kind in kinds:
        frontend.program.tell(f"vfio_set 3 {kind} 9")
        frontend.told("result 0 ")
        message = frontend.channel.receive()
        assert (message.request, message.flags) == (number, 0x9)
        assert message.payload == (frontend.wire.vfio_file(3, kind) if named else frontend.wire.u64(3))
        assert len(message.fds) == 1
        message.close()
        frontend.channel.send(number, frontend.wire.u64(0), flags=0x5)
        frontend.told("channel_reply 9 0")
    frontend.program.tell("vfio_clear 3 10")
    frontend.told("result 0 ")
    message = frontend.channel.receive()
    none = 3 | spoken.NOFD
    assert message.payload == (frontend.wire.vfio_file(none, 0) if named else frontend.wire.u64(none))
    assert message.fds == []
    if not named:
        frontend.program.tell("vfio_set 3 1 11")
        assert frontend.program.hear().startswith("result -95 ")
    frontend.end()


def test_a_standard_backend_has_no_vfio_file(frontend):
    frontend.negotiate()
    frontend.program.tell("vfio_set 0 0 1")
    assert frontend.program.hear().startswith("result -95 ")
    assert frontend.channel.silent()


def test_an_extended_backend_speaks_standard_to_a_frontend_without_the_bit():
    frontend = Frontend("extended", ALL | 1 << 62)
    assert frontend.get("GET_PROTOCOL_FEATURES") == frontend.wire.u64(ALL | 1 << 62)
    frontend.negotiate(ALL)
    frontend.memory()
    frontend.start(0)
    frontend.program.tell("area_set 0 0 4096 1")
    frontend.told("result 0 ")
    message = frontend.channel.receive()
    assert message.request == 3
    message.close()
    frontend.end()


def test_a_configuration_change(frontend):
    frontend.negotiate()
    frontend.program.tell("config_changed 5")
    frontend.told("result 0 ")
    message = frontend.channel.receive()
    assert (message.request, message.flags, message.payload) == (2, 0x9, b"")
    frontend.channel.send(2, frontend.wire.u64(0), flags=0x5)
    frontend.told("channel_reply 5 0")


@pytest.mark.parametrize("name", [
    "SET_VRING_ENDIAN", "CREATE_CRYPTO_SESSION", "CLOSE_CRYPTO_SESSION", "POSTCOPY_ADVISE", "POSTCOPY_LISTEN",
    "POSTCOPY_END", "GPU_SET_SOCKET", "VRING_KICK", "GET_SHARED_OBJECT", "SET_DEVICE_STATE_FD", "CHECK_DEVICE_STATE",
    "GET_SHMEM_CONFIG"])
def test_what_is_not_done_here_is_refused_by_name(name):
    frontend = Frontend()
    frontend.negotiate()
    frontend.send(name, frontend.wire.u64(0))
    message = frontend.line.receive()
    assert (message.request, message.flags) == (IDS[name], 0x5)
    assert message.payload in (b"", frontend.wire.u64(1))
    frontend.told(f"refused -95 {name}: not implemented")
    assert frontend.get("GET_QUEUE_NUM") == frontend.wire.u64(4)
    frontend.end()
