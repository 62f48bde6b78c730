# SPDX-License-Identifier: BSD-3-Clause
"""examples/vswitch, and a softaccel whose uplink is a wire to it."""

import contextlib
import json
import os
import re
import socket

from ringpass_testvm import netns, supervise
from ringpass_testvm.errors import TestvmError

from .programs import EAL_ARGUMENTS, UPLINK_MAC, Softaccel

READY_SECONDS = 60
COMMAND_SECONDS = 60
ANSWER_BYTES = 1 << 16
UPLINK_SECONDS = 30
TAP, WIRE = "net_tap0", "net_memif0"
MEMORY_MIB = "256"
MODE_SECONDS = 60


class WiredSoftaccel(Softaccel):
    """Its uplink is a memif: memory that two processes share, which needs no privilege and no hugepages."""

    def __init__(self, supervisor, build, functions, wire):
        super().__init__(supervisor, build, functions)
        self._wire = wire

    def command(self):
        command = super().command()
        at = command.index("--")
        command.insert(at, f"--vdev={WIRE},role=server,socket={self._wire},socket-abstract=no")
        return [*command, "--uplink", WIRE]

    def start(self):
        # One that was killed has left it, and the next one's memif does not take it over.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._wire)
        super().start()


class Vswitch:
    """The program, its commands and its telemetry."""

    def __init__(self, supervisor, build, guests, tap=None, wire=None, ethdevs=(), vdevs=()):
        """guests: arguments of --guest, each followed by those of its --accelerator. tap: an interface to make, which
        is a port. wire: socket of a memif. ethdevs: more ports. vdevs: devices to make for them."""
        self._supervisor = supervisor
        self._build = build
        self._guests = guests
        self._tap = tap
        self._wire = wire
        self._ethdevs = ([TAP] if tap else []) + list(ethdevs)
        self._vdevs = list(vdevs)
        self._control = supervisor.path("control.sock")
        self.process = None

    def _prefix(self):
        return f"rp{os.getpid()}switch"

    def command_line(self):
        cpus = sorted(os.sched_getaffinity(0))
        command = [os.path.join(self._build.directory, "examples", "vswitch", "vswitch"), *EAL_ARGUMENTS[:3],
                   "-m", MEMORY_MIB, f"--lcores=0@{cpus[0]},1@{cpus[-1]}", f"--file-prefix={self._prefix()}"]
        if self._tap:
            command.append(f"--vdev={TAP},iface={self._tap},mac={UPLINK_MAC}")
        if self._wire:
            command.append(f"--vdev={WIRE},role=client,socket={self._wire},socket-abstract=no")
        command += [f"--vdev={one}" for one in self._vdevs]
        command += ["--", "--control", self._control]
        for name in self._ethdevs:
            command += ["--ethdev", name]
        for guest, *accelerators in self._guests:
            command += ["--guest", guest]
            for one in accelerators:
                command += ["--accelerator", one]
        return command

    def start(self, address=None):
        """address: of the TAP interface, with prefix length."""
        self.process = self._supervisor.start("vswitch", self.command_line(),
                                              {"RUNTIME_DIRECTORY": self._supervisor.directory})
        self.process.wait_for_line("vswitch: ready", READY_SECONDS)
        if address:
            netns.set_address(self._tap, address, UPLINK_SECONDS)

    def log(self):
        return self.process.log()

    def wait_listening(self):
        """Until every guest's port has its software backend, and so a socket."""
        for guest, *_ in self._guests:
            path = re.search(r"socket=([^,]+)", guest)[1]
            supervise.wait_until(lambda: os.path.exists(path), READY_SECONDS, path, self.process.require_alive)

    def wait_link(self, port):
        """Until a port's ethdev, a guest's wire, has the other end."""
        def is_up():
            return any(line.startswith(f"{port} ") and " link=up" in line for line in self.command("ports"))
        supervise.wait_until(is_up, READY_SECONDS, f"{port}: link", self.process.require_alive)

    def wait(self, timeout):
        """Until it has ended by itself. @return exit status."""
        process, self.process = self.process, None
        return process.wait(timeout)

    def stop(self):
        """@return exit status."""
        process, self.process = self.process, None
        return process.stop()

    def connect(self):
        """To its control socket. @return a socket."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(COMMAND_SECONDS)
        connection.connect(self._control)
        return connection

    def command(self, line):
        """@return the lines before the last one. @raises TestvmError when that is not ok."""
        with self.connect() as connection:
            connection.sendall(f"{line}\n".encode())
            with connection.makefile(encoding="utf-8") as answers:
                lines = []
                for answer in answers:
                    answer = answer.rstrip("\n")
                    if answer == "ok":
                        return lines
                    if answer.startswith("error: "):
                        raise TestvmError(f"vswitch: {line}: {answer}")
                    lines.append(answer)
        self.process.require_alive()
        raise TestvmError(f"vswitch: {line}: no end of the answer: {lines}")

    def stats(self, port):
        """{counter: value}"""
        return {name: int(value) for name, value in re.findall(r" (\w+)=(\d+)", self.command(f"stats {port}")[0])}

    def telemetry(self, command):
        """@return the answer's dictionary."""
        path = self._supervisor.path(f"dpdk/{self._prefix()}/dpdk_telemetry.v2")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(COMMAND_SECONDS)
            connection.connect(path)
            connection.recv(ANSWER_BYTES)  # the greeting
            connection.send(command.encode())
            return json.loads(connection.recv(ANSWER_BYTES))[command.partition(",")[0]]

    def queues(self, port):
        """[{key: value}] of a guest's queues."""
        answer = self.telemetry(f"/vswitch/queues,{port}")
        return [answer[str(number)] for number in range(len(answer))]

    def owners(self, port):
        """{queue: "software", "hardware" or "none"}"""
        return {number: queue["owner"] for number, queue in enumerate(self.queues(port))}

    def wait_owners(self, port, expected):
        """expected: an owner for all, or as owners() has it."""
        def reached():
            owners = self.owners(port)
            return owners == (expected if isinstance(expected, dict) else dict.fromkeys(owners, expected))
        supervise.wait_until(reached, MODE_SECONDS, f"{port}: owners {expected}", self.process.require_alive)
