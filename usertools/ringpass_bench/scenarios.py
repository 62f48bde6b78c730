# SPDX-License-Identifier: BSD-3-Clause
"""What can be run: the scenarios of the program in app/bench, and those that need whole programs."""

import dataclasses
import importlib
import json
import subprocess

# In a quick run a scenario may take this much; in a whole one that much. All of them: two minutes, and fifteen.
QUICK_SECONDS = 120
WHOLE_SECONDS = 900


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    quick_s: int  # 0: not part of a quick run, unless it is named
    whole_s: int
    benches: tuple  # the rows that a quick run has
    module: str = ""  # in this package, with `def run(context)` that yields rows; none: the program has it


# Each starts programs, guests or daemons; a row of its own is made by context.row().
OUT_OF_PROCESS = (
    Scenario("guest", 0, 120, ("guest_pps_split_64", "guest_pps_packed_64"), "guest"),
    Scenario("ports", 6, 15, ("daemon_rss_mib", "port_kib"), "ports"),
)


def of_program(program):
    lines = subprocess.run([program, "--list"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
                           timeout=60).stdout.splitlines()
    for line in map(json.loads, lines):
        yield Scenario(line["scenario"], line["quick_s"], line["whole_s"], tuple(line["benches"].split()))


def known(program):
    return [*of_program(program), *OUT_OF_PROCESS]


def run_module(scenario, context):
    yield from importlib.import_module(f"ringpass_bench.{scenario.module}").run(context)
