# SPDX-License-Identifier: BSD-3-Clause
"""A vfio-user client of a few lines, for programs that serve a device."""

import os
import socket
import struct

SECONDS = 120
VERSION, DMA_MAP, REGION_INFO, REGION_READ, REGION_WRITE, DEVICE_RESET = 1, 2, 5, 9, 10, 13
CONFIG_REGION = 7
FLAG_ERROR = 0x20
READ, WRITE = 1, 2


class Client:
    """Headers and fields are in this machine's byte order. @raises OSError with the errno of a reply."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(SECONDS)
        self._socket.connect(path)
        self.command(VERSION, struct.pack("=HH", 0, 1) + b'{"capabilities":{"max_msg_fds":8}}\0')

    def close(self):
        self._socket.close()

    def _take(self, count):
        data = b""
        while len(data) < count:
            piece, fds, _, _ = socket.recv_fds(self._socket, count - len(data), 8)
            for fd in fds:
                os.close(fd)
            assert piece, "the server left"
            data += piece
        return data

    def command(self, number, payload, fds=()):
        message = struct.pack("=HHIII", 7, number, 16 + len(payload), 0, 0) + payload
        socket.send_fds(self._socket, [message], fds)
        _, _, size, flags, error = struct.unpack("=HHIII", self._take(16))
        reply = self._take(size - 16)
        if flags & FLAG_ERROR:
            raise OSError(error, os.strerror(error))
        return reply

    def read(self, region, at, count):
        return self.command(REGION_READ, struct.pack("=QII", at, region, count))[16:]

    def write(self, region, at, data):
        self.command(REGION_WRITE, struct.pack("=QII", at, region, len(data)) + data)

    def dma_map(self, iova, size, fd):
        self.command(DMA_MAP, struct.pack("=IIQQQ", 32, READ | WRITE, 0, iova, size), [fd])

    def reset(self):
        self.command(DEVICE_RESET, b"")

    def region_size(self, region):
        reply = self.command(REGION_INFO, struct.pack("=IIIIQQ", 32, 0, region, 0, 0, 0))
        return struct.unpack_from("=Q", reply, 16)[0]
