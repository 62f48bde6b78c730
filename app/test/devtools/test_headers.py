# SPDX-License-Identifier: BSD-3-Clause
"""A public header says what it is, whose thread may call it, and how each call can fail."""

import re

import declarations
import house
import pytest

HEADERS = house.public_headers()
# One sentence may speak for all that follows it.
SHARED_ERRORS = re.compile(r"\bAll\b[\w\s]*\bcalls\s+below\s+return\b")


def _words(comment):
    return re.sub(r"\s*\n\s*\*\s*", " ", comment)


def undocumented(text):
    return [f"line {function.line}: {function.name}: no comment" for function in declarations.functions(text)
            if not function.doc]


def without_errors(text):
    shared = SHARED_ERRORS.search(re.sub(r"\n[ \t]*\*", "\n", text))
    shared_line = house.line_of(text, shared.start()) if shared else None
    return [f"line {function.line}: {function.name}: no @return"
            for function in declarations.functions(text)
            if function.returns == "int" and "@return" not in function.doc
            and (shared_line is None or function.line < shared_line)]


def identify(path):
    return str(path.relative_to(house.TOP))


def test_there_are_headers():
    assert len(HEADERS) > 10


@pytest.mark.parametrize("header", HEADERS, ids=identify)
def test_says_what_it_is_and_whose_thread_calls_it(header):
    comment = _words(declarations.file_comment(header.read_text()))
    assert comment, "no @file comment"
    assert re.search(r"\bthreads?\b", comment, re.IGNORECASE), "the @file comment does not speak of threads"


@pytest.mark.parametrize("header", HEADERS, ids=identify)
def test_each_function_has_a_comment(header):
    house.none(undocumented(header.read_text()))


@pytest.mark.parametrize("header", HEADERS, ids=identify)
def test_each_function_names_its_errors(header):
    house.none(without_errors(header.read_text()))


GOOD = """
/** @file
 * A thing. Threads: one. */
struct rp_a { int (*rp_member)(void *ctx); /**< called back */ };
typedef void (*rp_a_done)(void *ctx, int error);
/** Make it. @return 0 or -ENOMEM. */
int rp_a_create(struct rp_a **ret_a)
\t__attribute__((warn_unused_result));
int rp_a_fd(const struct rp_a *a); /**< @return an epoll, borrowed */
/** Its name. */
static inline const char *
rp_a_name(const struct rp_a *a)
{
\treturn a != NULL ? "a" : "";
}
extern const struct rp_a rp_a_default;
"""


def test_a_good_header_passes():
    names = [function.name for function in declarations.functions(GOOD)]
    assert names == ["rp_a_create", "rp_a_fd", "rp_a_name"]
    assert undocumented(GOOD) == [] and without_errors(GOOD) == []


@pytest.mark.parametrize("old, new, name", [
    ("/** Make it. @return 0 or -ENOMEM. */\n", "", "rp_a_create"),
    ("/** Make it. @return 0 or -ENOMEM. */\n", "/* Make it. @return 0. */\n", "rp_a_create"),
    ("-ENOMEM. */\n", "-ENOMEM. */\n\n", "rp_a_create"),
    (" /**< @return an epoll, borrowed */", "", "rp_a_fd"),
    ("/** Its name. */\n", "", "rp_a_name"),
])
def test_a_comment_that_is_missing_is_seen(old, new, name):
    assert old in GOOD
    assert [name in problem for problem in undocumented(GOOD.replace(old, new))] == [True]


def test_a_return_that_is_missing_is_seen():
    assert len(without_errors(GOOD.replace("@return 0 or -ENOMEM.", ""))) == 1
    assert len(without_errors(GOOD.replace("@return an epoll", "an epoll"))) == 1
    shared = GOOD.replace("@return 0 or -ENOMEM.", "").replace(
        "/** Make", "/** All waiting\n * calls below return 0 or -ENOMEM. Make")
    assert without_errors(shared) == []
