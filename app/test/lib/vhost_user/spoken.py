# SPDX-License-Identifier: BSD-3-Clause
"""The vhost-user protocol as its specification prints it, read a second time: nothing here comes from the C code.

Messages are bytes made with `struct`, in the byte order of the program under test (its ELF header says which), so that
the same vectors hold on a big-endian machine, where the program runs under `RINGPASS_TEST_WRAPPER`.
"""

import os
import pathlib
import select
import shlex
import socket
import struct
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[4]
BUILD = pathlib.Path(os.environ.get("RINGPASS_BUILD_DIR", TOP / "build"))
PROGRAMS = BUILD / "app" / "test" / "lib" / "vhost_user"
WRAPPER = shlex.split(os.environ.get("RINGPASS_TEST_WRAPPER", ""))
PATIENCE_S = 60

VERSION, REPLY, NEED_REPLY = 0x1, 0x4, 0x8
NOFD = 0x100

FRONTEND_IDS = {
    "GET_FEATURES": 1, "SET_FEATURES": 2, "SET_OWNER": 3, "RESET_OWNER": 4, "SET_MEM_TABLE": 5, "SET_LOG_BASE": 6,
    "SET_LOG_FD": 7, "SET_VRING_NUM": 8, "SET_VRING_ADDR": 9, "SET_VRING_BASE": 10, "GET_VRING_BASE": 11,
    "SET_VRING_KICK": 12, "SET_VRING_CALL": 13, "SET_VRING_ERR": 14, "GET_PROTOCOL_FEATURES": 15,
    "SET_PROTOCOL_FEATURES": 16, "GET_QUEUE_NUM": 17, "SET_VRING_ENABLE": 18, "SEND_RARP": 19, "NET_SET_MTU": 20,
    "SET_BACKEND_REQ_FD": 21, "IOTLB_MSG": 22, "SET_VRING_ENDIAN": 23, "GET_CONFIG": 24, "SET_CONFIG": 25,
    "CREATE_CRYPTO_SESSION": 26, "CLOSE_CRYPTO_SESSION": 27, "POSTCOPY_ADVISE": 28, "POSTCOPY_LISTEN": 29,
    "POSTCOPY_END": 30, "GET_INFLIGHT_FD": 31, "SET_INFLIGHT_FD": 32, "GPU_SET_SOCKET": 33, "RESET_DEVICE": 34,
    "VRING_KICK": 35, "GET_MAX_MEM_SLOTS": 36, "ADD_MEM_REG": 37, "REM_MEM_REG": 38, "SET_STATUS": 39, "GET_STATUS": 40,
    "GET_SHARED_OBJECT": 41, "SET_DEVICE_STATE_FD": 42, "CHECK_DEVICE_STATE": 43, "GET_SHMEM_CONFIG": 44,
}

PROTOCOL_FEATURES = {
    "MQ": 0, "LOG_SHMFD": 1, "RARP": 2, "REPLY_ACK": 3, "MTU": 4, "BACKEND_REQ": 5, "CROSS_ENDIAN": 6, "CRYPTO_SESSION": 7,
    "PAGEFAULT": 8, "CONFIG": 9, "BACKEND_SEND_FD": 10, "HOST_NOTIFIER": 11, "INFLIGHT_SHMFD": 12, "RESET_DEVICE": 13,
    "INBAND_NOTIFICATIONS": 14, "CONFIGURE_MEM_SLOTS": 15, "STATUS": 16, "XEN_MMAP": 17, "SHARED_OBJECT": 18,
    "DEVICE_STATE": 19, "GET_VRING_BASE_INFLIGHT": 20,
}


def mask(*names):
    return sum(1 << PROTOCOL_FEATURES[name] for name in names)


def byte_order(program):
    """'<' or '>': byte 5 of an ELF header (EI_DATA)."""
    with open(program, "rb") as file:
        return {1: "<", 2: ">"}[file.read(6)[5]]


class Wire:
    """Structures of the specification, in one byte order."""

    def __init__(self, order):
        self.order = order

    def pack(self, layout, *values):
        return struct.pack(self.order + layout, *values)

    def unpack(self, layout, data):
        return struct.unpack(self.order + layout, data)

    def header(self, request, flags, size):
        return self.pack("III", request, flags, size)

    def u64(self, value):
        return self.pack("Q", value)

    def state(self, index, num):
        return self.pack("II", index, num)

    def addr(self, index, flags, desc, used, avail, log=0):
        return self.pack("IIQQQQ", index, flags, desc, used, avail, log)

    def region(self, gpa, size, uva, offset):
        return self.pack("QQQQ", gpa, size, uva, offset)

    def table(self, *regions):
        return self.pack("II", len(regions), 0) + b"".join(self.region(*region) for region in regions)

    def slot(self, *region):
        return self.pack("Q", 0) + self.region(*region)

    def config(self, offset, size, flags, data):
        return self.pack("III", offset, size, flags) + data

    def area(self, value, size, offset):
        return self.pack("QQQ", value, size, offset)

    def vfio_file(self, value, kind):
        return self.pack("QQ", value, kind)

    def log(self, size, offset):
        return self.pack("QQ", size, offset)

    def iotlb(self, iova, size, uva, perm, kind):
        return self.pack("QQQBB6x", iova, size, uva, perm, kind)

    def inflight(self, size, offset, queues, num):
        return self.pack("QQHH", size, offset, queues, num)


class Closed(Exception):
    """The other end closed the connection."""


class Message:
    def __init__(self, request, flags, payload, fds):
        self.request, self.flags, self.payload, self.fds = request, flags, payload, fds

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Line:
    """One socket on which whole messages travel."""

    def __init__(self, sock, wire):
        self.sock, self.wire = sock, wire
        sock.settimeout(PATIENCE_S)

    def send(self, request, payload=b"", fds=(), flags=VERSION, pieces=None):
        data = self.wire.header(request, flags, len(payload)) + payload
        if pieces is None:
            pieces = [data]
        else:
            pieces = [data[i:i + pieces] for i in range(0, len(data), pieces)]
        socket.send_fds(self.sock, [pieces[0]], list(fds))
        for piece in pieces[1:]:
            self.sock.sendall(piece)

    def _exactly(self, count):
        data, fds = b"", []
        while len(data) < count:
            piece, more, _flags, _address = socket.recv_fds(self.sock, count - len(data), 16)
            fds += more
            if not piece:
                raise Closed
            data += piece
        return data, fds

    def receive(self):
        data, fds = self._exactly(12)
        request, flags, size = self.wire.unpack("III", data)
        payload, more = self._exactly(size) if size else (b"", [])
        return Message(request, flags, payload, fds + more)

    def silent(self):
        return not select.select([self.sock], [], [], 0)[0]

    def close(self):
        self.sock.close()


class Program:
    """One end of the protocol, in C, that speaks in lines; the other end of its socket is `line`."""

    def __init__(self, name, *arguments):
        program = PROGRAMS / name
        self.wire = Wire(byte_order(program))
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen([*WRAPPER, program, str(theirs.fileno()), *map(str, arguments)],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                            pass_fds=[theirs.fileno()])
        self.line = Line(ours, self.wire)
        self.said = b""
        assert self.hear() == "ready 0 "

    def tell(self, text):
        self.process.stdin.write(f"{text}\n".encode())

    def hear(self):
        while b"\n" not in self.said:
            if not select.select([self.process.stdout], [], [], PATIENCE_S)[0]:
                raise TimeoutError("the program says nothing")
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise Closed
            self.said += more
        text, _newline, self.said = self.said.partition(b"\n")
        return text.decode()

    def end(self):
        self.line.close()
        try:
            while (line := self.process.stdout.readline()):
                self.said += line
            assert self.process.wait(PATIENCE_S) == 0
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
        return self.said.decode().splitlines()


class Files:
    """Descriptors to send, closed together."""

    def __init__(self):
        self.fds = []

    def eventfd(self):
        self.fds.append(os.eventfd(0))
        return self.fds[-1]

    def memory(self, size):
        fd = os.memfd_create("memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        self.fds.append(fd)
        return fd

    def socketpair(self):
        ours, theirs = socket.socketpair()
        self.fds.append(theirs.detach())
        return ours, self.fds[-1]

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []
