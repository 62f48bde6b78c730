# SPDX-License-Identifier: BSD-3-Clause
"""softaccel, ringpassd and ringpass-ctl: how they are started and asked."""

import dataclasses
import json
import os
import socket

from ringpass_testvm import supervise
from ringpass_testvm.errors import TestvmError

USERTOOLS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
READY_SECONDS = 60
COMMAND_SECONDS = 30
TELEMETRY_BYTES = 1 << 16
UPLINK_DEVICE = "net_tap0"
# The same one after a restart: what guests have in their ARP tables stays true.
UPLINK_MAC = "52:54:00:00:01:00"
# Not "--in-memory": DPDK refuses it together with "--no-huge".
EAL_ARGUMENTS = ("--no-huge", "--no-pci", "--no-shconf", "-m", "256", "-l", "0")


class Build:
    """Where the programs are: a meson build directory, and the scripts beside this package."""

    def __init__(self, directory):
        self.directory = os.path.abspath(directory)
        if not os.path.exists(os.path.join(self.directory, "build.ninja")):
            raise TestvmError(f"{self.directory}: not a meson build directory")

    def program(self, name):
        path = os.path.join(self.directory, "app", name, name)
        if not os.access(path, os.X_OK):
            raise TestvmError(f"{path}: not there; is {self.directory} a finished build?")
        return path

    def test_program(self, path):
        """One that is part of the tests: path below app/test, as app/softaccel/softaccel-late-access."""
        return os.path.join(self.directory, "app", "test", path)

    def tool(self, name):
        return os.path.join(USERTOOLS, name)


@dataclasses.dataclass
class Function:
    """One virtio-net device that softaccel serves."""

    socket: str
    mac: str
    queue_pairs: int = 2
    group: str = ""  # functions of one group are one port of the switch
    doorbell: str = "page"
    packed: bool = True  # offered
    msix: bool = True
    iommu: bool = False  # its addresses may be translated by its client
    idle_ms: int = 0  # 0: a guest keeps its doorbells however long it does nothing, for who waits to see them

    def argument(self):
        text = (f"socket={self.socket},queue_pairs={self.queue_pairs},mac={self.mac},doorbell={self.doorbell},"
                f"packed={'on' if self.packed else 'off'},msix={'on' if self.msix else 'off'},"
                f"idle_ms={self.idle_ms}")
        text += ",iommu=on" if self.iommu else ""
        return f"{text},group={self.group}" if self.group else text


class _Program:
    """A program that may be started again after it has ended. process is None while it is not meant to run."""

    def __init__(self, supervisor, build):
        self._supervisor = supervisor
        self._build = build
        self.process = None

    def _start(self, name, command, environment=None, log_name=None):
        self.process = self._supervisor.start(log_name or name, command, environment)
        self.process.wait_for_line(f"{name}: ready", READY_SECONDS)

    def _take(self):
        process, self.process = self.process, None
        return process

    def kill(self):
        """As a crash would."""
        return self._take().kill()

    def stop(self):
        """@return exit status."""
        return self._take().stop()


class Softaccel(_Program):
    def __init__(self, supervisor, build, functions, uplink=None, name="softaccel", uplink_mac=UPLINK_MAC):
        """uplink: name of the TAP interface to make, or None. name: of its log and of DPDK's files."""
        super().__init__(supervisor, build)
        self._functions = functions
        self._uplink = uplink
        self._name = name
        self._uplink_mac = uplink_mac
        self._prefix = f"rp{os.getpid()}{name.removeprefix('softaccel')}"
        self.program = None  # another than the build's, for tests

    def command(self):
        command = [self.program or self._build.program("softaccel"), *EAL_ARGUMENTS, f"--file-prefix={self._prefix}"]
        if self._uplink:
            command.append(f"--vdev={UPLINK_DEVICE},iface={self._uplink},mac={self._uplink_mac}")
        command.append("--")
        for function in self._functions:
            command += ["--function", function.argument()]
        if self._uplink:
            command += ["--uplink", UPLINK_DEVICE]
        return command

    def start(self):
        # DPDK's own files, too, go into the directory that is removed at the end
        environment = {"RUNTIME_DIRECTORY": self._supervisor.directory}
        self._start("softaccel", self.command(), environment, self._name)

    def _ask(self, command):
        """By DPDK's telemetry. @return the answer's dictionary."""
        path = self._supervisor.path(f"dpdk/{self._prefix}/dpdk_telemetry.v2")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(COMMAND_SECONDS)
            try:
                connection.connect(path)
                connection.recv(TELEMETRY_BYTES)  # the greeting
                connection.send(command.encode())
                return json.loads(connection.recv(TELEMETRY_BYTES))[command.partition(",")[0]]
            except (OSError, ValueError, KeyError) as error:
                raise TestvmError(f"softaccel: {command}: {error}") from error

    def functions(self):
        """@return [{counter: value}] of the functions' switch ports, in their order."""
        answer = self._ask("/softaccel/functions")
        return [answer[str(number)] for number in range(len(answer))]

    def queues(self, function):
        """@return [{counter: value}] of the queues of a function, by its number; at most 64."""
        answer = self._ask(f"/softaccel/queues,{function}")
        return [answer[str(number)] for number in range(len(answer))]

    def sleeps(self):
        """@return {"timed", "untimed": number}: how often the data path slept with a timer, and without."""
        return self._ask("/softaccel/sleeps")

    def nodes(self):
        """@return {"buffers", "data_path", "doorbells_0", ...: NUMA node}; -1: it was not placed."""
        return self._ask("/softaccel/nodes")

    def dma(self, function):
        """@return {counter: value} of how a function reaches its guest's memory."""
        return self._ask(f"/softaccel/dma,{function}")


@dataclasses.dataclass
class Port:
    """One entry of ringpassd's configuration."""

    name: str
    socket: str
    accelerators: list
    mode: str = "server"
    queue_pairs: int = 2
    more: dict = dataclasses.field(default_factory=dict)  # further keys and their values, as the file has them

    def text(self):
        accelerators = ", ".join(f'"{one}"' for one in self.accelerators)
        more = "".join(f" {key} = {value};" for key, value in self.more.items())
        return (f'{{ name = "{self.name}"; socket = "{self.socket}"; mode = "{self.mode}"; '
                f"queue_pairs = {self.queue_pairs}; accelerators = ( {accelerators} );{more} }}")


class Ringpassd(_Program):
    def __init__(self, supervisor, build, ports, name="ringpassd", environment=None):
        """environment: variables to add."""
        super().__init__(supervisor, build)
        self._ports = ports
        self._name = name
        self._environment = environment
        self.rpc = supervisor.path(f"{name.replace('ringpassd', 'rpc')}.sock")

    def start(self):
        config = self._supervisor.path(f"{self._name}.conf")
        with open(config, "w", encoding="utf-8") as file:
            ports = ",\n  ".join(port.text() for port in self._ports)
            file.write(f"ports = (\n  {ports}\n);\n")
        self._start("ringpassd", [self._build.program("ringpassd"), "--config", config, "--rpc", self.rpc],
                    self._environment, self._name)


class Control:
    """ringpass-ctl, as a user runs it."""

    def __init__(self, build, rpc, alive=None):
        """alive() raises when what it talks to is no longer there: that says more than a command that failed."""
        self._command = [build.tool("ringpass-ctl"), "--rpc", rpc]
        self._alive = alive

    def _run(self, *arguments):
        try:
            return supervise.run([*self._command, *arguments], COMMAND_SECONDS)
        except TestvmError:
            if self._alive:
                self._alive()
            raise

    def ask(self, *arguments):
        """@return what ringpass-ctl prints for a program, read."""
        text = self._run("--json", *arguments)
        try:
            return json.loads(text)
        except ValueError as error:
            raise TestvmError(f"ringpass-ctl {' '.join(arguments)}: unexpected answer: {text.strip()[:200]}") from error

    def show(self, port):
        """@return the port as a dictionary; its "queues" in the order of their numbers."""
        shown = self.ask("show", port)
        try:
            shown["queues"].sort(key=lambda queue: queue["queue"])
        except (KeyError, TypeError) as error:
            raise TestvmError(f"ringpass-ctl show {port}: unexpected answer: {str(shown)[:200]}") from error
        return shown

    def enable(self, port, pair):
        self._run("enable", port, "--pair", str(pair))

    def disable(self, port, pair):
        self._run("disable", port, "--pair", str(pair))

    def move(self, port, wish, *queues):
        """wish: "auto", "hardware" or "software"; for all queues, or those named."""
        self._run("move", port, *map(str, queues), wish)

    def mode(self, port, policy):
        """policy: "auto" or "relay", for all queues."""
        self._run("mode", port, "--all", policy)

    def ring(self, port, policy):
        """policy: "auto", "direct" or "shadow", for all queues, from their next start."""
        self._run("ring", port, "--all", policy)

    def wait_modes(self, port, expected, timeout, alive=None):
        """Until the queues' modes are as expected: a mode for all, or {queue: mode}. @return what show said last."""
        last = {}

        def reached():
            nonlocal last
            last = self.show(port)
            modes = {queue["queue"]: queue["mode"] for queue in last["queues"]}
            wanted = expected if isinstance(expected, dict) else dict.fromkeys(modes, expected)
            return modes and all(modes.get(queue) == mode for queue, mode in wanted.items())
        try:
            supervise.wait_until(reached, timeout, f"port {port}: queues {expected}", alive)
        except TestvmError as error:
            raise TestvmError(f"{error}; last seen: {describe_modes(last)}") from error
        return last


def describe_modes(shown):
    """For an error message: "0 direct, 1 relayed (reason)"."""
    return ", ".join(f"{queue['queue']} {queue['mode']}" + (f" ({queue['reason']})" if queue.get("reason") else "")
                     for queue in shown.get("queues", ())) or "no queues"
