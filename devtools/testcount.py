# SPDX-License-Identifier: BSD-3-Clause
"""Count single tests in what meson (cmocka programs) and pytest leave behind."""

import dataclasses
import json
import pathlib
import re
import xml.etree.ElementTree

# A sanitizer's finding must fail the test, also when the program caught it.
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99",
}


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: tuple = ()  # a line for each that has a name

    def __add__(self, other):
        return Counts(self.passed + other.passed, self.failed + other.failed,
                      self.skipped + other.skipped, self.failures + other.failures)

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def _cmocka(output, word):
    return sum(int(n) for n in re.findall(rf"\[  {word} +\] (\d+) test\(s\)", output))


def _of_program(record, output):
    """What failed in it, by its own words; itself, if it has none."""
    names = sorted(set(re.findall(r"\[  FAILED  \] (?!\d+ test)([\w.]+)", output)))
    return tuple(f"{record['name']}: {name}" for name in names) or (f"{record['name']}: {record['result']}",)


def from_program(record):
    """One program's line of meson's testlog.json."""
    output = record.get("stdout", "") + record.get("stderr", "")
    counts = Counts(_cmocka(output, "PASSED"), _cmocka(output, "FAILED"), _cmocka(output, "SKIPPED"))
    if record["result"] == "SKIP":
        return Counts(skipped=1)
    if record["result"] not in ("OK", "EXPECTEDFAIL") and not counts.failed:
        counts.failed = 1
    if not counts.passed and not counts.failed and not counts.skipped:
        counts.passed = 1
    if counts.failed:
        counts.failures = _of_program(record, output)
    return counts


def from_meson(build_dir, returncode):
    total = Counts()
    log = build_dir / "meson-logs" / "testlog.json"
    for line in log.read_text().splitlines():
        total += from_program(json.loads(line))
    if returncode and not total.failed:
        total.failed = 1
    return total


def from_summary(output, returncode):
    """The last line of a program that counts by itself."""
    lines = output.splitlines() or [""]
    found = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", lines[-1])
    total = Counts(*map(int, found.groups())) if found else Counts()
    if returncode and not total.failed:
        total.failed = 1
    return total


def _of_suite(suite):
    for case in suite.iter("testcase"):
        for found in (*case.findall("failure"), *case.findall("error")):
            said = (found.get("message") or "").splitlines() or [""]
            yield f"{case.get('classname')}::{case.get('name')}: {said[0][:200]}"


def from_junit(report, returncode):
    total = Counts()
    if report.exists():
        for suite in xml.etree.ElementTree.parse(report).getroot().iter("testsuite"):
            failed = int(suite.get("failures")) + int(suite.get("errors"))
            skipped = int(suite.get("skipped"))
            total += Counts(int(suite.get("tests")) - failed - skipped, failed, skipped, tuple(_of_suite(suite)))
    if returncode and not total.failed:
        total.failed = 1
    return total


def tool_test_paths(top):
    """Every pytest file of the mirrored tree that needs no VM."""
    tests = pathlib.Path("app/test")
    found = sorted({str(path.parent.relative_to(top)) for path in (top / tests).rglob("test_*.py")
                    if "e2e" not in path.parts})
    return found


def vector_test_paths(top):
    """The pytest files that send and expect bytes of their own, in the byte order of the program they start."""
    return sorted(str(path.relative_to(top)) for path in (top / "app/test").rglob("test_*.py")
                  if "\nimport spoken\n" in path.read_text())
