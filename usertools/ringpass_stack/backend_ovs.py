# SPDX-License-Identifier: BSD-3-Clause
"""Open vSwitch with DPDK as a software backend: one bridge with vhost-user ports and an interface of this machine.

Database, sockets and logs are in the run's directory; the machine's own Open vSwitch, if there is one, is not
touched.
"""

import os

from ringpass_testvm import netns, supervise

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
START_SECONDS = 60
COMMAND_SECONDS = 30
UPLINK_SECONDS = 30
COMMON_INTERFACE = "ovs-netdev"  # so that there can be one Open vSwitch in a network namespace
UPLINK_MAC = "52:54:00:00:03:01"
# Without --legacy-mem it aborts.
EAL_ARGUMENTS = "--no-pci --no-huge --legacy-mem --no-shconf --no-telemetry -m 256"
# Its thread for packets sleeps when there are none, so that others have the processor.
PMD_SLEEP_US = 50


def is_installed():
    return os.access(VSWITCHD, os.X_OK)


class OvsBackend:
    """What a port of ours, or QEMU by itself, is the frontend of. Kept over a restart: sockets, bridge, interface."""

    kind = "librte_vhost"

    def __init__(self, supervisor, ports=1, queue_pairs=1, listens=False, name="ovs", environment=None):
        """queue_pairs: it takes as many as the guest has; here for the likeness with other backends. listens: the
        sockets are Open vSwitch's (which its authors advise against); else it connects to them, again and again. environment: variables to add."""
        self._supervisor = supervisor
        self._name = name
        self._directory = supervisor.path(name)
        self._database = None
        self._more_environment = environment or {}
        self.queue_pairs = queue_pairs
        self.listens = listens
        self.process = None  # ovs-vswitchd
        self._ports = [f"{name}{index}" for index in range(ports)]
        # Its own are named as their ports, in its run directory.
        self.sockets = [self._path(port) if listens else supervisor.path(f"{port}.sock") for port in self._ports]
        self.uplink = f"{name[:4]}{os.getpid()}"  # the bridge, and the interface of its own
        self.uplinks = [self.uplink]
        supervisor.on_close(self._remove_uplink)

    def _path(self, name):
        return os.path.join(self._directory, name)

    def _environment(self):
        return {"OVS_RUNDIR": self._directory, "OVS_LOGDIR": self._directory, "OVS_DBDIR": self._directory,
                "RUNTIME_DIRECTORY": self._directory}

    def vsctl(self, *arguments):
        """@return what it prints. Changes are waited for only when ovs-vswitchd is there to make them."""
        wait = f"--timeout={COMMAND_SECONDS}" if self.process else "--no-wait"
        return supervise.run(["ovs-vsctl", f"--db=unix:{self._path('db.sock')}", wait, *arguments],
                             2 * COMMAND_SECONDS)

    def appctl(self, *arguments):
        """@return what ovs-vswitchd answers, e.g. to "dpif-netdev/pmd-stats-show"."""
        return supervise.run(["ovs-appctl", "-t", self._path("vswitchd.ctl"), *arguments], COMMAND_SECONDS)

    def _start_database(self):
        os.makedirs(self._directory, exist_ok=True)
        file = self._path("conf.db")
        if not os.path.exists(file):
            supervise.run(["ovsdb-tool", "create", file, SCHEMA], COMMAND_SECONDS)
        self._database = self._supervisor.start(
            f"{self._name}-db", ["ovsdb-server", file, f"--remote=punix:{self._path('db.sock')}",
                                 f"--unixctl={self._path('db.ctl')}"], self._environment())
        supervise.wait_until(lambda: os.path.exists(self._path("db.sock")), START_SECONDS, "ovsdb-server's socket",
                             self._database.require_alive)
        self._configure()

    def _configure(self):
        self.vsctl("init")
        self.vsctl("set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                   f'other_config:dpdk-extra="{EAL_ARGUMENTS} --file-prefix=rp{os.getpid()}{self._name}"',
                   "other_config:per-port-memory=true",  # else it wants buffers for a large switch at once
                   f"other_config:pmd-maxsleep={PMD_SLEEP_US}")
        add = ["--", "--may-exist", "add-br", self.uplink, "--", "set", "bridge", self.uplink, "datapath_type=netdev",
               f'other_config:hwaddr="{UPLINK_MAC}"']
        for port, socket in zip(self._ports, self.sockets):
            add += ["--", "--may-exist", "add-port", self.uplink, port, "--", "set", "Interface", port]
            add += ["type=dpdkvhostuser"] if self.listens else ["type=dpdkvhostuserclient",
                                                                f"options:vhost-server-path={socket}"]
        self.vsctl(*add)

    def start(self, addresses=()):
        """addresses: of the bridge, with prefix length, at most one. It keeps it, also when it is killed."""
        if not self._database:
            self._start_database()
        self.process = self._supervisor.start(
            self._name, [VSWITCHD, f"unix:{self._path('db.sock')}", f"--unixctl={self._path('vswitchd.ctl')}"],
            {**self._environment(), **self._more_environment})
        self.process.wait_for_line("DPDK Enabled - initialized", START_SECONDS)
        # A change is waited for until it is in force, and all that was there before with it.
        self.vsctl("set", "Open_vSwitch", ".", f"external-ids:pid={self.process.pid}")
        for address in addresses:
            netns.set_address(self.uplink, address, UPLINK_SECONDS)

    def statistics(self, index=0):
        """{counter: value} of the port behind the socket of that number."""
        text = self.vsctl("get", "Interface", self._ports[index], "statistics").strip().strip("{}")
        return {name.strip(): int(value) for name, _, value in (pair.partition("=") for pair in text.split(",") if pair)}

    def kill(self):
        """As a crash would. The database stays, and with it what the next one makes."""
        process, self.process = self.process, None
        return process.kill()

    def stop(self):
        for process in (self.process, self._database):
            if process:
                process.stop()
        self.process = self._database = None
        self._remove_uplink()

    def _remove_uplink(self):
        """It outlives ovs-vswitchd, and so does the one of all bridges of that kind."""
        for name in netns.interfaces() & {self.uplink, COMMON_INTERFACE}:
            netns.ip("link", "delete", name)
