# SPDX-License-Identifier: BSD-3-Clause
"""What a software backend offers is what a port offers that has nothing else behind it; and which kind it is, is found
out. Without a guest: one request, to the backend itself and to the port."""

import os
import socket
import struct

import pytest
from transparent import LIMIT_SECONDS, Line

from ringpass_stack import backend_ovs, backend_qsd, testpmd
from ringpass_stack.backend_ovs import OvsBackend
from ringpass_stack.backend_qsd import QsdBackend
from ringpass_stack.backend_testpmd import TestpmdBackend
from ringpass_testvm.supervise import wait_until

PAIRS = 2
GET_FEATURES, VERSION_FLAG = 1, 1
# struct vhost_user_msg: request, flags and size of the payload, which is 64 bits in the answer
REQUEST, ANSWER = struct.Struct("=III"), struct.Struct("=IIIQ")
BACKENDS = {
    "testpmd": (testpmd.is_installed, lambda supervisor: TestpmdBackend(supervisor, 1, PAIRS), "net"),
    "testpmd-connects": (testpmd.is_installed, lambda supervisor: TestpmdBackend(supervisor, 1, PAIRS, False), "net"),
    "ovs": (backend_ovs.is_installed, lambda supervisor: OvsBackend(supervisor, 1, PAIRS), "net"),
    "ovs-listens": (backend_ovs.is_installed, lambda supervisor: OvsBackend(supervisor, 1, PAIRS, True), "net"),
    "qsd": (backend_qsd.is_installed, lambda supervisor: QsdBackend(supervisor), "other"),
}


def features_of(path, listens):
    """@return what is offered by whoever has that socket, or connects to it."""
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(LIMIT_SECONDS)
        if listens:
            own.connect(path)
            return ask(own)
        own.bind(path)
        try:
            own.listen()
            connection, _ = own.accept()
            with connection:
                connection.settimeout(LIMIT_SECONDS)
                return ask(connection)
        finally:
            os.unlink(path)


def receive(connection, size):
    """All of it: a backend may write the header first, and MSG_WAITALL does not wait on a socket with a time limit."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, f"the backend hung up after {len(data)} of {size} bytes"
        data += part
    return data


def ask(connection):
    connection.sendall(REQUEST.pack(GET_FEATURES, VERSION_FLAG, 0))
    request, _, size, features = ANSWER.unpack(receive(connection, ANSWER.size))
    assert (request, size) == (GET_FEATURES, ANSWER.size - REQUEST.size)
    return features


@pytest.mark.parametrize("name", BACKENDS)
def test_offer(supervisor, build, name):
    is_installed, make, device = BACKENDS[name]
    if not is_installed():
        pytest.skip(f"{name}: not installed")
    backend = make(supervisor)
    backend.start()
    expected = features_of(backend.sockets[0], backend.listens)
    line = Line(supervisor, build, backend, True, PAIRS, device)
    line.ringpassd.start()

    def known():
        return line.control.show(line.names[0])["software"]["state"] == "usable"
    wait_until(known, LIMIT_SECONDS, "the port knows its software backend", line.require_alive)
    assert features_of(line.socket(), line.listens) == expected
    assert line.control.show(line.names[0])["software"]["kind"] == backend.kind
    line.require_alive()
