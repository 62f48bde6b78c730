# SPDX-License-Identifier: BSD-3-Clause
"""How the suite counts, and what it says of tests that failed."""

import sys

from house import TOP

sys.path.insert(0, str(TOP / "devtools"))
import testcount  # noqa: E402

JUNIT = """<testsuites><testsuite errors="1" failures="1" skipped="1" tests="4">
<testcase classname="app.test_a" name="test_good"/>
<testcase classname="app.test_a" name="test_bad"><failure message="assert 1 == 2&#10;more">text</failure></testcase>
<testcase classname="app.test_a" name="test_ugly"><error message="no guest">text</error></testcase>
<testcase classname="app.test_a" name="test_absent"><skipped message="none here"/></testcase>
</testsuite></testsuites>"""


def test_failures_of_a_report_are_named(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(JUNIT)
    counts = testcount.from_junit(report, 1)
    assert str(counts) == "1 passed, 2 failed, 1 skipped"
    assert counts.failures == ("app.test_a::test_bad: assert 1 == 2", "app.test_a::test_ugly: no guest")


def test_a_report_that_is_missing_is_a_failure(tmp_path):
    assert testcount.from_junit(tmp_path / "none.xml", 2).failed == 1


def test_failures_of_a_program_are_named():
    output = "[  PASSED  ] 1 test(s).\n[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] ring_wraps\n"
    counts = testcount.from_program({"name": "vring", "result": "FAIL", "stdout": output})
    assert str(counts) == "1 passed, 1 failed, 0 skipped"
    assert counts.failures == ("vring: ring_wraps",)


def test_a_program_that_ends_without_a_word_is_a_failure():
    counts = testcount.from_program({"name": "vring", "result": "TIMEOUT"})
    assert counts.failed == 1 and counts.failures == ("vring: TIMEOUT",)


def test_sums_keep_the_names():
    total = sum([testcount.Counts(1, 1, 0, ("a",)), testcount.Counts(0, 1, 2, ("b",))], testcount.Counts())
    assert str(total) == "1 passed, 2 failed, 2 skipped" and total.failures == ("a", "b")
