# SPDX-License-Identifier: BSD-3-Clause
"""The eventfd that the device signals is the VMM's own, not one of ringpassd in between."""

import ctypes
import os

SYS_KCMP_X86_64 = 312
KCMP_FILE = 0


def eventfds(pid):
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}") == "anon_inode:[eventfd]":
                found.append(int(name))
        except OSError:
            continue
    return found


def same_file(pid, fd, other_pid, other_fd):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(SYS_KCMP_X86_64, pid, other_pid, KCMP_FILE, ctypes.c_ulong(fd), ctypes.c_ulong(other_fd))
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result == 0


def test_kcmp(make_stack):
    stack = make_stack()
    stack.start()
    guest = stack.guests[0]
    qemu, softaccel = guest.vm.pid, stack.softaccel.process.pid
    ours = eventfds(qemu)
    shared = [fd for fd in eventfds(softaccel) if any(same_file(softaccel, fd, qemu, one) for one in ours)]
    # One for each ring's interrupt. Kicks come by doorbell: softaccel has no eventfd of the VMM for them.
    assert len(shared) == len(guest.show()["queues"])
