# SPDX-License-Identifier: BSD-3-Clause
"""Count the instructions, system calls and allocations of the fixed work in app/test/perf, and judge them.

A count does not depend on who else uses the machine, so that it can be compared with a committed one. It depends
on the compiler and on the libraries, which is why it says what it was taken with.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile

COMMITTED = pathlib.Path("app/test/perf/counts.json")
# A table of them, between two lines of their own.
DOCUMENT = pathlib.Path("doc/guides/performance.md")
TABLE = re.compile(r"(?<=<!-- counts: devtools/count-instructions writes this -->\n)(.*?)(?=<!-- end of counts -->)", re.S)
PROGRAMS = ("count-libraries", "count-softaccel", "count-vfio-user", "count-vhost-user")
LIMIT_PERCENT = 2.0
# A tenth of an instruction is no news.
MOVED_PERCENT = 0.05
# Of system calls and allocations for an operation: these are counted, not estimated.
WHOLE = 0.005
TIMEOUT_S = 300
# The C library's copies are chosen by the processor; these are every x86-64's.
PLAIN_LIBC = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM"


class CountError(Exception):
    """It cannot be counted, and why."""


@dataclasses.dataclass(frozen=True)
class Count:
    """For one operation."""

    instructions: float
    system_calls: float
    allocations: float

    def __str__(self):
        return (f"{self.instructions:.1f} instructions, {self.system_calls:g} system calls, "
                f"{self.allocations:g} allocations")


def _introspected(build_dir, what):
    return json.loads((pathlib.Path(build_dir) / "meson-info" / f"intro-{what}.json").read_text())


def _listed(program, kind):
    listed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return [line.split(" ", 2)[1:] for line in listed.splitlines() if line.startswith(f"{kind} ")]


def _programs(build_dir):
    found = [pathlib.Path(build_dir) / "app/test/perf" / name for name in PROGRAMS]
    return [program for program in found if program.exists()]


def taken_with(build_dir):
    """What the counts of this build depend on."""
    options = {option["name"]: option["value"] for option in _introspected(build_dir, "buildoptions")}
    version = {item["name"]: item["version"] for item in _introspected(build_dir, "dependencies")}
    facts = {"machine": platform.machine(), "buildtype": options["buildtype"],
             "dpdk": ".".join(version.get("libdpdk", "none").split(".")[:2])}
    for program in _programs(build_dir)[:1]:
        facts.update(_listed(program, "fact"))
    return facts


def why_not(build_dir, committed):
    """Why counts of this build cannot be compared with the committed ones; None: they can."""
    if shutil.which("valgrind") is None:
        return "valgrind is missing (devtools/install-packages test)"
    if not _programs(build_dir):
        return f"{build_dir}: app/test/perf is not built"
    ours = taken_with(build_dir)
    other = [f"{name} {ours[name]}, not {wanted}" for name, wanted in committed["taken_with"].items()
             if ours.get(name) != wanted]
    return f"the committed counts are of another build: {'; '.join(other)}" if other else None


def scenarios(build_dir):
    """@return {name: (program, operations)} of what was built."""
    return {name: (program, int(operations)) for program in _programs(build_dir)
            for name, operations in _listed(program, "scenario")}


def run_callgrind(program, name, out):
    """@return what the program printed; `out` has callgrind's words."""
    run = subprocess.run(
        ["valgrind", "-q", "--tool=callgrind", "--fair-sched=try", f"--callgrind-out-file={out}", "--collect-atstart=no",
         "--toggle-collect=count_measured", "--collect-systime=yes", "--compress-strings=no", "--compress-pos=no",
         str(program), name],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S,
        # A function that is called for the first time is looked up: not here.
        env={**os.environ, "GLIBC_TUNABLES": PLAIN_LIBC, "LD_BIND_NOW": "1"})
    if run.returncode != 0:
        raise CountError(f"{name}: {program} ended with {run.returncode}: {(run.stdout + run.stderr)[-2000:]}")
    return run.stdout


def parse(callgrind, printed, operations):
    """The cost of the calls of count_measured(): events in the order of `events:`, zeroes at the end left out."""
    events = re.search(r"^events: (.*)$", callgrind, re.M).group(1).split()
    call = re.search(r"^cfn=count_measured\ncalls=.*\n\d+ (.*)$", callgrind, re.M)
    allocations = re.search(r"^allocations (\d+)$", printed, re.M)
    if call is None or allocations is None:
        raise CountError("count_measured() was not seen")
    cost = dict(zip(events, map(int, call.group(1).split())))
    return Count(cost["Ir"] / operations, cost.get("sysCount", 0) / operations,
                 int(allocations.group(1)) / operations)


def count(program, name, operations):
    with tempfile.TemporaryDirectory(prefix="ringpass-count.") as directory:
        out = pathlib.Path(directory) / "callgrind.out"
        printed = run_callgrind(program, name, out)
        return parse(out.read_text(), printed, operations)


def profile(program, name):
    """@return callgrind_annotate's text: where the instructions of a scenario are."""
    with tempfile.TemporaryDirectory(prefix="ringpass-count.") as directory:
        out = pathlib.Path(directory) / "callgrind.out"
        run_callgrind(program, name, out)
        return subprocess.run(["callgrind_annotate", "--auto=no", str(out)], check=True, capture_output=True,
                              text=True).stdout


def count_all(found, names):
    """@return {name: Count}; as many at once as there are processors, since they do not disturb each other."""
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        counts = pool.map(lambda name: count(found[name][0], name, found[name][1]), names)
        return dict(zip(names, counts))


def load(top):
    return json.loads((top / COMMITTED).read_text())


def of_record(record):
    return Count(record["instructions"], record["system_calls"], record["allocations"])


def percent(was, now):
    return 100.0 * (now.instructions - was.instructions) / was.instructions


def verdict(name, record, now):
    """Why a count is not the committed one; None: it is, within its limit."""
    was, limit = of_record(record), record["limit_percent"]
    moved, found = percent(was, now), []
    if abs(moved) > limit:
        found.append(f"{now.instructions:.1f} instructions, was {was.instructions:.1f} "
                     f"({moved:+.1f} %, limit {limit:g} %)")
    for what, before, after in (("system calls", was.system_calls, now.system_calls),
                                ("allocations", was.allocations, now.allocations)):
        if abs(after - before) > WHOLE:
            found.append(f"{after:.3g} {what}, was {before:.3g} (no change allowed)")
    if not found:
        return None
    return (f"{name}: one operation takes {'; '.join(found)}.\n"
            f"  Where: devtools/count-instructions --profile {name}\n"
            f"  Meant, and worth it: devtools/count-instructions --update --why 'REASON' {name}")


def updated(committed, counts, why, build):
    """The committed counts with what moved, and the reason; a scenario that is new is taken in."""
    result = {"taken_with": build, "scenarios": dict(committed["scenarios"])}
    for name, now in counts.items():
        record = result["scenarios"].get(name)
        if record is not None and abs(percent(of_record(record), now)) <= MOVED_PERCENT and \
                verdict(name, record, now) is None:
            continue
        result["scenarios"][name] = {
            "instructions": round(now.instructions, 1),
            "system_calls": round(now.system_calls, 4),
            "allocations": round(now.allocations, 4),
            "limit_percent": LIMIT_PERCENT if record is None else record["limit_percent"],
            "why": why,
        }
    return result


def table(committed):
    """The lines of the document's table."""
    lines = ["", "| scenario | instructions | system calls | allocations |", "|---|---|---|---|"]
    for name, record in sorted(committed["scenarios"].items()):
        lines.append(f"| `{name}` | {record['instructions']:.0f} | {record['system_calls']:.2g} "
                     f"| {record['allocations']:.2g} |")
    return "\n".join([*lines, "", ""])


def save(top, committed):
    committed["scenarios"] = dict(sorted(committed["scenarios"].items()))
    (top / COMMITTED).write_text(json.dumps(committed, indent="\t") + "\n")
    document = top / DOCUMENT
    document.write_text(TABLE.sub(lambda _: table(committed), document.read_text()))
