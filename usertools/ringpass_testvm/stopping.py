# SPDX-License-Identifier: BSD-3-Clause
"""Turns SIGINT, SIGTERM and SIGHUP into one exception, so that everything is taken down in order.

The exception is raised at most once in the life of the process: the clean-up that follows cannot be
interrupted again. deferred() holds it back while something is created and written down, so that nothing
exists which the clean-up does not know of.
"""

import contextlib
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asks us to end. What a test framework does at Ctrl-C is then right for every signal."""

    def __init__(self, signum):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class _State:
    depth = 0
    pending = None
    raised = False


def _handler(signum, _frame):
    if _State.raised:
        return
    if _State.depth:
        _State.pending = signum
        return
    _State.raised = True
    raise Stopped(signum)


def install():
    """To be called early in main(), by the main thread."""
    for signum in SIGNALS:
        signal.signal(signum, _handler)


@contextlib.contextmanager
def deferred():
    """Inside, a signal is remembered; it is raised when the outermost block has ended."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
    if not _State.depth and _State.pending is not None and not _State.raised:
        _State.raised = True
        raise Stopped(_State.pending)


def guarded(work, cleanup):
    """Run work(), then cleanup() in every case.

    cleanup() must be safe to call twice: a signal may cut the first call short, and the second one, after
    the only exception that there can be, is complete.
    """
    try:
        try:
            return work()
        finally:
            cleanup()
    except Stopped:
        cleanup()
        raise
