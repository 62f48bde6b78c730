# SPDX-License-Identifier: BSD-3-Clause
"""What `make demo-vfio` shows: real kernel VFIO, and a guest's doorbells and interrupts that nobody relays.

It happens in the hardware VM, where QEMU's virtio-net-pci is a PCI function behind an IOMMU. First a nested QEMU/KVM
guest pings and transfers data through one function; then examples/master, a VMM of a few hundred lines, runs a guest
of its own on another one and tells KVM of the VFIO group that it was given.

Every figure is counted where it happens. Kicks: outside of the VM, by the hardware, that is by the outer QEMU's trace,
as the difference between two moments; what ringpassd kicked in between would be in its own count, and is taken off.
Interrupts: by the guests. Pings and bytes: at their ends.
"""

import dataclasses
import json
import os
import re
import sys
import time

from ringpass_hwvm import Function, HardwareVm, wire
from ringpass_testvm import Nic, TestvmError, VhostUser, netns
from ringpass_testvm.cache import Cache
from ringpass_testvm.supervise import wait_until

from . import demo_command, transfer
from .ping import ping
from .programs import Build, Port, describe_modes
from .summary import Figures

PINGS = 50
MASTER_PACKETS = 300
QEMU, MASTER = 0, 1  # the two halves: numbers of function, network and port
PORTS = ("vm0", "master")
DIRECT_SECONDS = 300
MASTER_SECONDS = 300
CONTROL_SECONDS = 300
MASTER_GO = "/run/master.go"
# Of queue pair n of the guest's first card.
INTERRUPT = re.compile(r"^ *\d+:((?: +\d+)+) .*virtio\d+-(input|output)\.(\d+)$", re.MULTILINE)


def guest_interrupts(text):
    """{queue: interrupts that a guest has taken}, of /proc/interrupts."""
    return {2 * int(pair) + (kind == "output"): sum(map(int, counts.split()))
            for counts, kind, pair in INTERRUPT.findall(text)}


@dataclasses.dataclass
class Moment:
    """What was counted up to now, at both ends of a port."""

    queues: list  # as ringpass-ctl shows them
    hardware: dict  # {queue: kicks}
    interrupts: dict  # {queue: taken by the guest}


def rows(before, after):
    """The queues for the summary: what happened between two moments."""
    found = []
    for first, last in zip(before.queues, after.queues):
        queue = last["queue"]
        relayed = last["relayed_kicks"] - first["relayed_kicks"]
        hardware = after.hardware.get(queue, 0) - before.hardware.get(queue, 0)
        interrupts = after.interrupts.get(queue, 0) - before.interrupts.get(queue, 0)
        found.append({**last, "direct_kicks": hardware - relayed, "device_interrupts": interrupts,
                      "relayed_kicks_after_map": max(relayed, last["relayed_kicks_after_map"])})
    return found


def master_rows(before, after, report):
    """As rows(), and {queue: (stores by the guest, kicks seen by the hardware)} where the two differ."""
    interrupts = {number: queue["interrupts"] for number, queue in enumerate(report["queues"])}
    found = rows(before, dataclasses.replace(after, interrupts=interrupts))
    stores = [queue["doorbell_kicks"] for queue in report["queues"]]
    differ = {row["queue"]: (count, row["direct_kicks"]) for row, count in zip(found, stores)
              if row["direct_kicks"] != count}
    return found, differ


class VfioFigures(Figures):
    """What the second half adds: examples/master's own report, and what the hardware says about it."""

    def __init__(self):
        super().__init__()
        self.master = None  # as it has printed it
        self.differ = {}

    def master_total(self, key):
        return sum(queue[key] for queue in self.master["queues"]) if self.master else 0

    def problems(self):
        found = super().problems()
        if not self.master:
            return [*found, "examples/master did not get to its end"]
        for queue, (stores, kicks) in self.differ.items():
            found.append(f"master's queue {queue}: its guest has stored {stores} times, the hardware was kicked {kicks} "
                         "times")
        if not self.master_total("doorbell_kicks"):
            found.append("master's guest did not store to a doorbell")
        if self.master_total("eventfd_kicks"):
            found.append(f"master's guest has kicked {self.master_total('eventfd_kicks')} times by eventfd")
        if not self.master_total("interrupts"):
            found.append("master's guest was not interrupted")
        if not self.master["files_added"]:
            found.append("no VFIO group was added to the KVM-VFIO device of master's guest")
        if self.master["files_removed"] != self.master["files_added"]:
            found.append(f"of {self.master['files_added']} VFIO files {self.master['files_removed']} were removed")
        return found

    def more(self):
        master = self.master or {}
        return {
            "vfio_group_passed": bool(master.get("vfio_files")),
            "kvm_vfio_file_added": master.get("files_added", 0),
            "kvm_vfio_file_removed": master.get("files_removed", 0),
            "master_direct_kicks": self.master_total("doorbell_kicks"),
            "master_interrupts": self.master_total("interrupts"),
            "master_packets": sum(queue["chains"] for queue in master.get("queues", ())
                                  if queue["role"] == "transmit"),
        }


class DemoVfio:
    def __init__(self, supervisor, options):
        self.figures = VfioFigures()
        self._supervisor = supervisor
        self._options = options
        self._start = time.monotonic()
        self._host = None
        self._guest = None

    def say(self, text):
        print(f"[{time.monotonic() - self._start:6.1f} s] {text}", flush=True)

    def run(self):
        self._supervisor.open()
        try:
            self._boot()
            self._first_half()
            self._second_half()
        except TestvmError:
            if self._host and self._host.ringpassd:
                print(f"end of the log of ringpassd:\n{self._host.ringpassd.log()[-4000:]}", file=sys.stderr)
            raise

    def _boot(self):
        build = Build(self._options.build_dir)
        store = Cache(self._options.cache_dir or os.path.join(build.directory, "testvm-cache"))
        netns.enter_private()
        self.say("booting the hardware VM: an IOMMU, and QEMU's virtio-net-pci twice")
        functions = [Function(tap=f"rpvfio{index}", packed=self._options.packed) for index in (QEMU, MASTER)]
        self._host = HardwareVm(self._supervisor, functions, store, build=build).start()
        for index in (QEMU, MASTER):
            self.say(f"function {self._host.address(index)}: IOMMU group {self._host.group(index)}, "
                     f"driver {self._host.driver(index)}")
        # A standard VMM, and one that knows the extension.
        profiles = ({}, {"profile": '"extended"'})
        ports = [Port(name, self._socket(index), [f"vfio,device={self._host.address(index)}"], queue_pairs=1,
                      more=profiles[index]).text() for index, name in enumerate(PORTS)]
        self._host.start_ringpassd("ports = (\n  " + ",\n  ".join(ports) + "\n);")
        self.say("ringpassd is ready")

    @staticmethod
    def _socket(index):
        return f"/run/{PORTS[index]}.sock"

    def _show(self, index):
        # An emulated processor starts a Python program in seconds, or, on a busy machine, in many.
        tool = self._host.build.tool("ringpass-ctl")
        shown = json.loads(self._host.run(f"{tool} --rpc {self._host.rpc} --json show {PORTS[index]}",
                                          CONTROL_SECONDS).output)
        shown["queues"].sort(key=lambda queue: queue["queue"])
        return shown

    def _wait_direct(self, index, alive):
        last = {}

        def reached():
            nonlocal last
            last = self._show(index)
            return all(queue["mode"] == "direct" for queue in last["queues"])
        try:
            wait_until(reached, DIRECT_SECONDS, f"port {PORTS[index]}: queues direct", alive)
        except TestvmError as error:
            raise TestvmError(f"{error}; last seen: {describe_modes(last)}") from error
        self.say(f"queues: {describe_modes(last)}")

    def _moment(self, index, interrupts=None):
        return Moment(self._show(index)["queues"], self._host.kicks(index), interrupts or {})

    def _guest_moment(self):
        return self._moment(QEMU, guest_interrupts(self._guest.run("cat /proc/interrupts").output))

    def _first_half(self):
        self.say("booting a nested QEMU/KVM guest")
        nic = Nic(VhostUser(self._socket(QEMU)), queues=1, packed=self._options.packed)
        self._guest = self._host.start_guest([nic])
        self._guest.set_address(0, wire.guest(QEMU))
        self.say(f"guest is up: Linux {self._guest.release}, under KVM")
        self._wait_direct(QEMU, self._guest.require_alive)
        before = self._guest_moment()
        report = ping(self._guest, wire.peer(QEMU), PINGS)
        self.figures.add_pings(report)
        self.say(f"pings from the guest through the function: {report.received} of {report.sent} answered")
        self._transfer()
        self.figures.queues += rows(before, self._guest_moment())

    def _transfer(self):
        address, mib = wire.peer(QEMU), self._options.transfer_mib
        sent = transfer.to_guest(self._guest, address, mib << 20)
        transfer.from_guest(self._guest, address, sent)
        self.figures.bytes_checked += 2 * sent[1]
        self.say(f"{mib} MiB of random data to the guest and back: the checksums agree")

    def _go_on(self):
        self._host.run(f"echo >{MASTER_GO}")

    def _second_half(self):
        program = os.path.join(self._host.build.directory, "examples", "master", "master")
        packed = " --packed" if self._options.packed else ""
        self.say("starting examples/master, profile extended, with a guest of its own under KVM")
        # Not "<": both ends of the pipe are its own, so that it never ends.
        master = self._host.spawn("master", f"mkfifo {MASTER_GO} && exec {program} {self._socket(MASTER)} --profile "
                                            f"extended --guest --rounds 1 --packets {MASTER_PACKETS} --wait 60000 "
                                            f"--pause --json{packed} <>{MASTER_GO}")
        master.wait_for_line("the rings have started", MASTER_SECONDS)
        self._wait_direct(MASTER, master.require_alive)
        before = self._moment(MASTER)
        self._go_on()
        master.wait_for_line("the work is done", MASTER_SECONDS)
        after = self._moment(MASTER)
        self._go_on()
        if master.wait(MASTER_SECONDS):
            raise TestvmError(f"examples/master has failed: {master.log().strip()[-500:]}")
        self.figures.master = json.loads(master.log().splitlines()[-1])
        found, self.figures.differ = master_rows(before, after, self.figures.master)
        self.figures.queues += [{**row, "queue": f"master {row['queue']}"} for row in found]
        self._say_master(self.figures.more())

    def _say_master(self, figures):
        self.say(f"packets of master's guest: {figures['master_packets']}; stores to the doorbell: "
                 f"{figures['master_direct_kicks']}; interrupts taken: {figures['master_interrupts']}")
        self.say(f"its KVM-VFIO device: {figures['kvm_vfio_file_added']} group added, "
                 f"{figures['kvm_vfio_file_removed']} removed")


def main(arguments=None):
    return demo_command.run("ringpass-demo-vfio", "Show Ringpass on kernel VFIO, in an emulated machine with an IOMMU.", 8,
                            DemoVfio, arguments)
