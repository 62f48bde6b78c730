# SPDX-License-Identifier: BSD-3-Clause
"""What the end-to-end tests share. They need root, and a build named by RINGPASS_BUILD_DIR.

All tests run in a network namespace of their own: TAP devices and addresses clash with nothing.
"""

import glob
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import leaks  # noqa: E402
from ringpass_stack.programs import Build  # noqa: E402
from ringpass_stack.scenario import Stack  # noqa: E402
from ringpass_testvm import Supervisor, netns, qemu, stopping  # noqa: E402
from ringpass_testvm.cache import Cache  # noqa: E402
from ringpass_testvm.supervise import tail  # noqa: E402

LOG_LINES = 40


def pytest_sessionstart(session):
    # pytest takes it for a Ctrl-C, and tears down what is set up
    stopping.install()
    if os.geteuid() == 0:
        netns.enter_private()


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root: TAP devices and a network namespace"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.has_failed = True


@pytest.fixture(scope="session")
def build():
    return Build(os.environ.get("RINGPASS_BUILD_DIR") or TOP / "build")


@pytest.fixture(scope="session")
def qemu_programs(build):
    """The distribution's QEMU, and the current one when it is there."""
    current = os.path.join(build.directory, "qemu-current", "ringpass-qemu")
    if not os.path.exists(current):
        return [qemu.PROGRAM]
    assert qemu.major_version(current) >= 10
    return [qemu.PROGRAM, current]


@pytest.fixture(scope="session")
def current_qemu(qemu_programs):
    if len(qemu_programs) == 1:
        pytest.skip("no current QEMU here: devtools/install-current-qemu could not install it")
    return qemu_programs[-1]


@pytest.fixture(scope="session")
def current_kernel(build):
    """A folder with a kernel in it that has more drivers than the distribution's default."""
    root = os.path.join(build.directory, "kernel-current")
    if not os.path.exists(os.path.join(root, "complete")):
        pytest.skip("no current kernel here: devtools/install-current-kernel could not unpack it")
    return root


@pytest.fixture(params=["distribution", "current"])
def qemu_program(request):
    """Each of the two, in turn."""
    return qemu.PROGRAM if request.param == "distribution" else request.getfixturevalue("current_qemu")


@pytest.fixture(scope="session")
def store(build):
    return Cache(os.path.join(build.directory, "testvm-cache"))


@pytest.fixture
def supervisor(request):
    """Its directory is gone after the test, and so is all that the test has started."""
    before = netns.interfaces()
    with Supervisor("e2e") as one:
        directory = one.directory
        yield one
        if getattr(request.node, "has_failed", False):
            for log in sorted(glob.glob(one.path("*.log"))):
                print(f"--- {os.path.basename(log)}{tail(log, LOG_LINES)}")
    assert leaks.remains(one.mark, directory) == []
    assert netns.interfaces() == before


@pytest.fixture
def make_stack(supervisor, build, store):
    """A function with the options of Stack. Nothing is started yet."""
    def make(**options):
        return Stack(supervisor, build, store, **options)
    return make


@pytest.fixture
def temporary(supervisor):
    """Where the demo puts its run directory."""
    directory = tempfile.mkdtemp(dir=supervisor.directory)
    yield directory
    shutil.rmtree(directory)
