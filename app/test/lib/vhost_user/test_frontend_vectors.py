# SPDX-License-Identifier: BSD-3-Clause
"""Each message of a frontend, compared with bytes made from the specification; and what a backend may ask of it."""

import fcntl
import mmap
import os

import pytest

import spoken

FEATURES = 1 << 32 | 1 << 30
ALL = spoken.mask("MQ", "RARP", "REPLY_ACK", "MTU", "BACKEND_REQ", "CONFIG", "BACKEND_SEND_FD", "HOST_NOTIFIER",
                  "RESET_DEVICE", "CONFIGURE_MEM_SLOTS", "STATUS")
IDS = spoken.FRONTEND_IDS
PAGE = mmap.PAGESIZE


class Backend:
    def __init__(self, profile="standard", offered=ALL, wanted=(1 << 64) - 1, need_reply=0):
        self.program = spoken.Program("speak_frontend", profile, hex(wanted), 4, need_reply)
        self.line, self.wire, self.files = self.program.line, self.program.wire, spoken.Files()
        self.offered, self.always, self.channel, self.acked = offered, bool(need_reply), None, None

    def expect(self, name, payload=b"", fds=0, need_reply=None):
        message = self.line.receive()
        assert (message.request, message.payload) == (IDS[name], payload), name
        assert len(message.fds) == fds, name
        assert message.flags & ~spoken.NEED_REPLY == spoken.VERSION
        if need_reply is not None:
            assert bool(message.flags & spoken.NEED_REPLY) == need_reply, name
        return message

    def done(self, name, payload=b"", fds=0, answer=0):
        """A request that asks for an acknowledgement gets one."""
        message = self.expect(name, payload, fds, need_reply=True)
        self.line.send(IDS[name], self.wire.u64(answer), flags=0x5)
        return message

    def silent(self, name, payload=b"", fds=0):
        """A request that is answered only by a frontend's choice."""
        message = self.expect(name, payload, fds, need_reply=self.always)
        if self.always:
            self.line.send(IDS[name], self.wire.u64(0), flags=0x5)
        message.close()

    def give(self, name, answer, payload=b""):
        self.expect(name, payload, need_reply=False).close()
        self.line.send(IDS[name], answer, flags=0x5)

    def told(self, *lines):
        assert [self.program.hear() for _ in lines] == list(lines)

    def negotiate(self, acked):
        wire = self.wire
        self.program.tell("negotiate")
        self.give("GET_FEATURES", wire.u64(FEATURES))
        self.give("GET_PROTOCOL_FEATURES", wire.u64(self.offered))
        self.expect("SET_PROTOCOL_FEATURES", wire.u64(acked), need_reply=False)
        self.give("GET_QUEUE_NUM", wire.u64(4))
        message = self.done("SET_BACKEND_REQ_FD", fds=1)
        self.channel = spoken.Line(spoken.socket.socket(fileno=message.fds.pop()), wire)
        self.done("SET_OWNER")
        self.told("result 0 ")

    def start(self, queue):
        wire, at = self.wire, 0x7F0000000000 + queue * 0x10000
        self.program.tell(f"ring_start {queue} 256 7 {at} {at + 0x8000} {at + 0x4000} 1")
        self.silent("SET_VRING_NUM", wire.state(queue, 256))
        self.silent("SET_VRING_BASE", wire.state(queue, 7))
        self.silent("SET_VRING_ADDR", wire.addr(queue, 0, at, at + 0x4000, at + 0x8000))
        self.done("SET_VRING_KICK", wire.u64(queue), fds=1).close()
        self.done("SET_VRING_CALL", wire.u64(queue), fds=1).close()
        self.told("result 0 ")

    def doorbell(self, pages=2, seals=True):
        fd = self.files.memory(pages * PAGE)
        if seals:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return fd

    def ask(self, number, payload, fds=()):
        self.channel.send(number, payload, fds, flags=0x9)

    def answered(self, number, value):
        message = self.channel.receive()
        assert (message.request, message.flags, message.payload) == (number, 0x5, self.wire.u64(value))

    def end(self):
        self.files.close()
        if self.channel:
            self.channel.close()
        return self.program.end()


@pytest.fixture(params=[0, 1], ids=["asks rarely", "asks always"])
def backend(request):
    backend = Backend(need_reply=request.param)
    backend.negotiate(ALL)
    yield backend
    lines = backend.end()
    assert not any(line.startswith("refused") for line in lines)


def test_only_known_bits_are_acked():
    backend = Backend(offered=(1 << 62) - 1)
    known = ALL | spoken.mask("LOG_SHMFD", "INFLIGHT_SHMFD", "GET_VRING_BASE_INFLIGHT")
    backend.negotiate(known)
    backend.end()


def test_features(backend):
    backend.program.tell(f"set_features {FEATURES}")
    backend.done("SET_FEATURES", backend.wire.u64(FEATURES))
    backend.told("result 0 ")


def test_memory(backend):
    first, second = (0, 0x10000000, 0x7F0000000000, 0), (0x100000000, 0x8000, 0x7E0000000000, 0x1000)
    backend.program.tell("mem_table " + " ".join(map(str, first + second)))
    backend.done("SET_MEM_TABLE", backend.wire.table(first, second), fds=2).close()
    backend.told("result 0 ")
    backend.program.tell("rem_mem_reg " + " ".join(map(str, second)))
    backend.done("REM_MEM_REG", backend.wire.slot(*second))
    backend.told("result 0 ")
    backend.program.tell("add_mem_reg " + " ".join(map(str, second)))
    backend.done("ADD_MEM_REG", backend.wire.slot(*second), fds=1, answer=1).close()
    assert backend.program.hear().startswith("result -121 ADD_MEM_REG")


def test_a_ring(backend):
    wire = backend.wire
    backend.start(2)
    backend.program.tell("ring_enable 2 1")
    backend.done("SET_VRING_ENABLE", wire.state(2, 1))
    backend.told("result 0 ")
    backend.program.tell("ring_call 2 0")
    backend.done("SET_VRING_CALL", wire.u64(2 | spoken.NOFD))
    backend.told("result 0 ")
    backend.program.tell("ring_stop 2")
    backend.give("GET_VRING_BASE", wire.state(2, 300), wire.state(2, 0))
    backend.told("base 0x12c", "result 0 ")


def test_configuration_space_and_reset(backend):
    wire = backend.wire
    backend.program.tell("get_config 6 2")
    backend.give("GET_CONFIG", wire.config(6, 2, 0, b"\x06\x07"), wire.config(6, 2, 0, bytes(2)))
    backend.told("config first=0x06", "result 0 ")
    backend.ask(2, b"")
    backend.answered(2, 0)
    backend.told("config_changed")
    backend.program.tell("reset_device")
    backend.done("RESET_DEVICE")
    backend.told("result 0 ")


def test_the_log_of_a_migration():
    backend = Backend(offered=ALL | spoken.mask("LOG_SHMFD"))
    backend.negotiate(ALL | spoken.mask("LOG_SHMFD"))
    backend.program.tell("log_base 0x2000 64")
    backend.expect("SET_LOG_BASE", backend.wire.log(0x2000, 64), fds=1, need_reply=False).close()
    backend.line.send(IDS["SET_LOG_BASE"], b"", flags=0x5)
    backend.told("result 0 ")
    backend.program.tell("log_fd")
    backend.done("SET_LOG_FD", fds=1).close()
    backend.told("result 0 ")
    backend.end()


def test_what_is_in_flight():
    backend = Backend(offered=ALL | spoken.mask("INFLIGHT_SHMFD"))
    backend.negotiate(ALL | spoken.mask("INFLIGHT_SHMFD"))
    backend.program.tell("inflight 2 128")
    backend.expect("GET_INFLIGHT_FD", backend.wire.inflight(0, 0, 2, 128) + bytes(4), need_reply=False).close()
    answer = backend.wire.inflight(0x1080, 0x40, 2, 128)
    backend.line.send(IDS["GET_INFLIGHT_FD"], answer, [backend.files.memory(0x10C0)], flags=0x5)
    backend.done("SET_INFLIGHT_FD", answer + bytes(4), fds=1).close()
    backend.told("inflight 0x1080 0x40", "result 0 ")
    backend.end()


def test_translations(backend):
    wire = backend.wire
    backend.program.tell(f"set_features {FEATURES | 1 << 33}")
    backend.done("SET_FEATURES", wire.u64(FEATURES | 1 << 33))
    backend.told("result 0 ")
    backend.program.tell("iotlb_update 0x1000 0x2000 0x7f0000000000 1")
    backend.done("IOTLB_MSG", wire.iotlb(0x1000, 0x2000, 0x7F0000000000, 1, 2))
    backend.told("result 0 ")
    backend.program.tell("iotlb_invalidate 0x1000 0x2000")
    backend.done("IOTLB_MSG", wire.iotlb(0x1000, 0x2000, 0, 0, 3))
    backend.told("result 0 ")
    backend.ask(1, wire.iotlb(0xABC000, 0, 0, 2, 1))
    backend.answered(1, 0)
    assert not backend.line.silent()  # the update went out before the answer
    backend.done("IOTLB_MSG", wire.iotlb(0xABC000, 0x1000, 0x7F0000000000, 2, 2))
    backend.told("iotlb_miss 0xabc000 2 0")


def test_the_smaller_messages(backend):
    wire = backend.wire
    asked = [
        ("set_config 8 1 0", "SET_CONFIG", wire.config(8, 1, 0, b"\xab"), 0),
        ("set_mtu 1500", "NET_SET_MTU", wire.u64(1500), 0),
        ("send_rarp 0x52 0x54 0 0x12 0x34 0x56", "SEND_RARP", bytes([0x52, 0x54, 0, 0x12, 0x34, 0x56, 0, 0]), 0),
        ("set_status 0xf", "SET_STATUS", wire.u64(0xF), 0),
        ("ring_err 3 1", "SET_VRING_ERR", wire.u64(3), 1),
        ("ring_err 3 0", "SET_VRING_ERR", wire.u64(3 | spoken.NOFD), 0),
        ("reset_owner", "RESET_OWNER", b"", 0),
    ]
    for command, name, payload, fds in asked:
        backend.program.tell(command)
        message = backend.expect(name, payload, fds)
        if message.flags & spoken.NEED_REPLY:
            backend.line.send(IDS[name], wire.u64(0), flags=0x5)
        message.close()
        backend.told("result 0 ")
    backend.program.tell("get_status")
    backend.give("GET_STATUS", wire.u64(0xF))
    backend.told("status 0xf", "result 0 ")
    backend.program.tell("max_slots")
    backend.give("GET_MAX_MEM_SLOTS", wire.u64(509))
    backend.told("slots 509", "result 0 ")


NOTIFY = [
    ("standard", 0, 3),
    ("extended", 1 << 62, 0x5601),
    ("vfio2018", 1 << 8, 4),
]


def connected(profile, bit):
    hidden = spoken.mask("HOST_NOTIFIER", "BACKEND_SEND_FD") if profile == "vfio2018" else 0
    backend = Backend(profile, ALL & ~hidden | bit)
    backend.negotiate(ALL & ~hidden | bit)
    return backend


@pytest.mark.parametrize("profile,bit,number", NOTIFY)
def test_a_notify_area(profile, bit, number):
    backend = connected(profile, bit)
    wire = backend.wire
    backend.ask(number, wire.area(1, PAGE, PAGE), [backend.doorbell()])
    backend.answered(number, 1)
    assert backend.program.hear().startswith("refused -16 ")
    backend.start(1)
    backend.ask(number, wire.area(1, PAGE, PAGE), [backend.doorbell()])
    backend.answered(number, 0)
    backend.told(f"notify_area 1 mapped {PAGE}")
    backend.ask(number, wire.area(1 | spoken.NOFD, 0, 0))
    backend.answered(number, 0)
    backend.told("notify_area 1 gone 0")
    backend.end()


def bad_areas(backend):
    wire = backend.wire
    null = os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
    backend.files.fds.append(null)
    return [
        ("two pages for one slot", wire.area(1, 2 * PAGE, 0), [backend.doorbell()]),
        ("half a page", wire.area(1, PAGE // 2, 0), [backend.doorbell()]),
        ("nothing", wire.area(1, 0, 0), [backend.doorbell()]),
        ("half a page into the file", wire.area(1, PAGE, PAGE // 2), [backend.doorbell()]),
        ("beyond the file", wire.area(1, PAGE, 2 * PAGE), [backend.doorbell()]),
        ("around the end of all numbers", wire.area(1, PAGE, (1 << 64) - PAGE), [backend.doorbell()]),
        ("a file that may shrink", wire.area(1, PAGE, 0), [backend.doorbell(seals=False)]),
        ("a file that cannot be written", wire.area(1, PAGE, 0), [null]),
        ("a queue that is not there", wire.area(4, PAGE, 0), [backend.doorbell()]),
        ("a queue that is not started", wire.area(0, PAGE, 0), [backend.doorbell()]),
        ("unknown flags", wire.area(1 | 0x200, PAGE, 0), [backend.doorbell()]),
        ("no descriptor", wire.area(1, PAGE, 0), []),
        ("a descriptor and none", wire.area(1 | spoken.NOFD, PAGE, 0), [backend.doorbell()]),
        ("two descriptors", wire.area(1, PAGE, 0), [backend.doorbell(), backend.doorbell()]),
        ("a byte more", wire.area(1, PAGE, 0) + b"\0", [backend.doorbell()]),
        ("a byte less", wire.area(1, PAGE, 0)[:-1], [backend.doorbell()]),
    ]


@pytest.mark.parametrize("profile,bit,number", NOTIFY)
def test_the_old_area_stays_when_the_new_one_is_bad(profile, bit, number):
    backend = connected(profile, bit)
    backend.start(1)
    backend.ask(number, backend.wire.area(1, PAGE, PAGE), [backend.doorbell()])
    backend.answered(number, 0)
    backend.told(f"notify_area 1 mapped {PAGE}")
    for _what, payload, fds in bad_areas(backend):
        backend.ask(number, payload, fds)
        backend.answered(number, 1)
        assert backend.program.hear().startswith("refused ")
    backend.channel.close()
    assert "notify_area 1 gone 0" in backend.end()


FILES = [("extended", 1 << 62, 0x5600), ("vfio2018", 1 << 8, 3)]


def file_payload(backend, number, value, kind):
    return backend.wire.vfio_file(value, kind) if number == 0x5600 else backend.wire.u64(value)


@pytest.mark.parametrize("profile,bit,number", FILES)
def test_a_vfio_file_is_added_once_and_removed_once(profile, bit, number):
    """The same file twice, under different numbers, then another; /dev/null and /dev/zero stand for groups."""
    backend = connected(profile, bit)
    null, again, zero = (os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in ("/dev/null", "/dev/null", "/dev/zero"))
    backend.files.fds += [null, again, zero, os.dup(null)]
    backend.ask(number, file_payload(backend, number, 0, 0), [null])
    backend.answered(number, 0)
    backend.told("file_add 0")
    backend.ask(number, file_payload(backend, number, 1, 0), [backend.files.fds[-1]])
    backend.answered(number, 0)
    backend.ask(number, file_payload(backend, number, 0 | spoken.NOFD, 0))
    backend.answered(number, 0)
    backend.ask(number, file_payload(backend, number, 1, 0), [zero])
    backend.answered(number, 0)
    backend.told("file_add 0", "file_remove 0")
    backend.ask(number, file_payload(backend, number, 1 | spoken.NOFD, 0))
    backend.answered(number, 0)
    backend.told("file_remove 0")
    backend.end()


@pytest.mark.parametrize("profile,bit,number", FILES)
def test_what_is_no_vfio_file(profile, bit, number):
    backend = connected(profile, bit)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    backend.files.fds.append(null)
    bad = [
        (file_payload(backend, number, 0, 0), [backend.doorbell()]),
        (file_payload(backend, number, 0, 0), [backend.files.eventfd()]),
        (file_payload(backend, number, 4, 0), [null]),
        (file_payload(backend, number, 0x200, 0), [null]),
        (file_payload(backend, number, 0, 0), []),
        (file_payload(backend, number, spoken.NOFD, 0), [null]),
        (file_payload(backend, number, 0, 0) + b"\0", [null]),
    ]
    if number == 0x5600:
        bad += [(file_payload(backend, number, 0, 2), [null]), (file_payload(backend, number, spoken.NOFD, 1), [])]
    for payload, fds in bad:
        backend.ask(number, payload, fds)
        backend.answered(number, 1)
        assert backend.program.hear().startswith("refused ")
    backend.end()
