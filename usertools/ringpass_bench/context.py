# SPDX-License-Identifier: BSD-3-Clause
"""What a scenario is given."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess

from ringpass_testvm import stopping
from ringpass_testvm.supervise import die_with_parent

from .errors import BenchError

# A scenario ends by itself when its time is over; this is for one that hangs.
PATIENCE = 3
PATIENCE_SECONDS = 60
END_SECONDS = 20


@dataclasses.dataclass
class Context:
    build_dir: str
    quick: bool
    once: bool = False  # one pair of each: whether it works, not how fast
    seconds: int = 0  # what the scenario may take
    facts: dict = dataclasses.field(default_factory=dict)

    @property
    def program(self):
        return os.path.join(self.build_dir, "app", "bench", "ringpass-bench")

    def row(self, bench, value, unit, peer=None, peer_value=None, *, runs=1, spread=0.0, placement="host", hop_ns=0):
        """A row as the program makes them; without a peer it is compared with nothing."""
        ratio = value / peer_value if peer is not None and peer_value else None
        return {"bench": bench, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio,
                "runs": runs, "spread": spread, "placement": placement, "hop_ns": hop_ns,
                "flags": self.facts.get("flags", "")}

    def run_program(self, *scenarios):
        """The program's lines, as they come: first {"facts": ...}, then rows."""
        command = [self.program, *(["--once"] if self.once else ["--quick"] if self.quick else []), *scenarios]
        limit = PATIENCE * self.seconds + PATIENCE_SECONDS
        with started(command, limit, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
        if process.returncode:
            raise BenchError(f"{' '.join(scenarios)}: exit status {process.returncode}")


@contextlib.contextmanager
def started(command, limit, **kwargs):
    """A process that has ended behind this, whatever happens to us: also when we are killed it is asked to end."""
    parent = os.getpid()
    with contextlib.ExitStack() as stack:
        with stopping.deferred():
            process = stack.enter_context(subprocess.Popen(
                command, stdin=subprocess.DEVNULL, preexec_fn=lambda: die_with_parent(parent, signal.SIGTERM),
                **kwargs))
            stack.enter_context(_ended(process, limit))
        yield process


@contextlib.contextmanager
def _ended(process, limit):
    """It ends by a signal that it tidies up for, if there is time."""
    previous = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(limit)
    try:
        yield
        process.wait()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _too_long(_number, _frame):
    raise BenchError("took too long, and was ended")
