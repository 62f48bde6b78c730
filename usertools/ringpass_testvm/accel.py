# SPDX-License-Identifier: BSD-3-Clause
"""KVM or emulation? That /dev/kvm opens proves little: only a guest that has booted does."""

import json
import os

from . import cache, initramfs, kernel, qemu, stopping
from .errors import TestvmError
from .supervise import Supervisor
from .vm import Vm

# A KVM guest needs about a second. Where it does not get this far in ten, emulation is the better choice.
PROBE_SECONDS = 10
VARIABLE = "RINGPASS_ACCEL"
CHOICES = ("kvm", "tcg")


def _boots_under_kvm(image, archive):
    supervisor = Supervisor("probe")

    def work():
        supervisor.open()
        vm = Vm(supervisor, "probe", qemu.Machine(image, archive, "kvm", memory_mib=256))
        try:
            vm.start(PROBE_SECONDS)
        except TestvmError:
            return False
        return True
    return stopping.guarded(work, supervisor.close)


def _question(image):
    """What the answer depends on: this boot of the host, the kernel package and QEMU."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return cache.content_hash([file.read(), image, qemu.version()])


def choose(store):
    """@return "kvm" or "tcg". The answer of the probe is kept in store until the host boots again."""
    forced = os.environ.get(VARIABLE)
    if forced:
        if forced not in CHOICES:
            raise TestvmError(f"{VARIABLE}={forced}: expected one of {', '.join(CHOICES)}")
        return forced
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    guest = kernel.newest()
    question = _question(guest.image)
    with store.locked("accel"):
        try:
            with open(store.path("accel.json"), encoding="utf-8") as file:
                known = json.load(file)
        except (OSError, ValueError):
            known = {}
        if known.get("question") != question:
            archive = initramfs.build(store, guest, ())
            works = _boots_under_kvm(guest.image, archive)
            known = {"question": question, "accel": "kvm" if works else "tcg"}
            store.write("accel.json", json.dumps(known).encode())
    return known["accel"]
