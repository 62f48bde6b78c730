# SPDX-License-Identifier: BSD-3-Clause
"""In the hardware VM: carries requests to a Unix socket, each a line, and their answers back.

    relay.py LINE SOCKET

An answer is a line, too. An empty one says that the socket gave none.
"""

import os
import socket
import sys

ANSWER_SECONDS = 60


def ask(path, request):
    """@return the answer's line; only a newline when there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(path)
            connection.sendall(request)
            with connection.makefile("rb") as file:
                return file.readline() or b"\n"
    except OSError:
        return b"\n"


def main():
    line = os.open(sys.argv[1], os.O_RDWR)
    pending = b""
    while True:
        data = os.read(line, 65536)
        if not data:
            return
        pending += data
        while b"\n" in pending:
            request, _, pending = pending.partition(b"\n")
            answer = ask(sys.argv[2], request + b"\n")
            while answer:
                answer = answer[os.write(line, answer):]


if __name__ == "__main__":
    main()
