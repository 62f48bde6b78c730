# SPDX-License-Identifier: BSD-3-Clause
"""A hardware VM that is lost under a test: what is said, and what the tests after it get."""

import contextlib

import pytest
from hardware import STARTS, Shared

from ringpass_hwvm import Function, HardwareVm
from ringpass_testvm import GuestEnded, Supervisor, TestvmError

PANIC = "echo c >/proc/sysrq-trigger"
PANIC_SAID = "Kernel panic - not syncing"


class _Small:
    """As little of a rig as can be lost."""

    def __init__(self, host):
        self.host = host
        self.fresh = 0
        self.broken = False

    def make_fresh(self):
        if self.broken:
            raise TestvmError("no ringpassd")
        self.fresh += 1


@pytest.fixture
def shared(build, store):
    @contextlib.contextmanager
    def make():
        with Supervisor("lost") as supervisor:
            yield _Small(HardwareVm(supervisor, [Function()], store, build=build, trace=False).start())
    one = Shared(make)
    yield one
    one.close()


def test_a_machine_that_panics_is_said_everywhere_and_replaced(shared):
    rig = shared.get()
    host = rig.host
    for ask in (lambda: host.vm.run(PANIC), lambda: host.run("ls /"), lambda: host.driver(0), host.require_alive,
                lambda: host.control.show("split")):
        with pytest.raises(GuestEnded, match="hardware: ended with status 0 .its kernel has panicked") as raised:
            ask()
        assert PANIC_SAID in str(raised.value)
    other = shared.get()
    assert other is not rig
    assert other.host.driver(0) == "vfio-pci"
    assert shared.get() is other and other.fresh == 2


def test_what_is_wrong_with_a_machine_that_answers_is_said_once(shared):
    """It may be ringpassd's fault: it is not passed over, but the next test gets another machine."""
    rig = shared.get()
    rig.broken = True
    with pytest.raises(TestvmError, match="no ringpassd"):
        shared.get()
    assert shared.get() is not rig


def test_a_machine_that_cannot_be_made_is_not_tried_for_ever():
    tried = []

    @contextlib.contextmanager
    def make():
        tried.append(1)
        raise TestvmError("no kernel")
        yield  # pylint: disable=unreachable
    one = Shared(make)
    for _ in range(STARTS + 2):
        with pytest.raises(TestvmError, match="no kernel"):
            one.get()
    assert len(tried) == STARTS
