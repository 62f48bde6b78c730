# SPDX-License-Identifier: BSD-3-Clause
"""Finds what a run has left behind."""

import contextlib
import glob
import os
import time

from ringpass_testvm.supervise import MARK_VARIABLE

# A process that was killed is seen for a moment longer.
GRACE_SECONDS = 5
STEP_SECONDS = 0.05


def processes(mark):
    """Of the run with that mark, other than this one: ["PID NAME"]. They inherit the mark, daemons too."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for directory in glob.glob("/proc/[0-9]*"):
        if directory == f"/proc/{os.getpid()}":
            continue
        try:
            with open(f"{directory}/environ", "rb") as file:
                if wanted not in file.read().split(b"\0"):
                    continue
            with open(f"{directory}/comm", encoding="utf-8") as file:
                found.append(f"{os.path.basename(directory)} {file.read().strip()}")
        except OSError:
            continue  # it has ended meanwhile
    return found


def sockets(directory):
    """Unix sockets that are bound below a directory in this network namespace."""
    with open("/proc/net/unix", encoding="utf-8") as file:
        paths = [line.split()[-1] for line in file]
    return [path for path in paths if path.startswith(f"{directory}/")]


def held(pid):
    """What a process holds on behalf of guests: the number of its descriptors, and its mappings of guest memory."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        mappings = sum("memory-backend-memfd" in line for line in file)
    return len(os.listdir(f"/proc/{pid}/fd")), mappings


def lent(pid):
    """As held(), of what can only be a client's or made for one: eventfds and memory, and its mappings. So whoever asks
    the process something at the same time does not count."""
    targets = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            targets.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return sum("eventfd" in target or "memfd" in target for target in targets), held(pid)[1]


def dpdk_files():
    """What DPDK leaves when a run does not keep its files to itself: our prefix is rp<pid>."""
    places = ("/run/dpdk", "/dev/hugepages", "/dev/shm")
    return [path for place in places for path in glob.glob(f"{place}/*rp{os.getpid()}*")]


def remains(mark, directory):
    """@return what is left of a run, in words; the last look is after a moment of grace."""
    end = time.monotonic() + GRACE_SECONDS
    while True:
        found = processes(mark) + sockets(directory) + dpdk_files()
        if os.path.exists(directory):
            found += [directory]
        if not found or time.monotonic() > end:
            return found
        time.sleep(STEP_SECONDS)
