# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the house rules share: the rooms, their files, C without its comments."""

import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[3]

# Public headers are named so; any other header is its room's own.
PUBLIC = "rp_*.h"

_TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def rooms(*parents, top=TOP):
    """ "lib/wire", ...: every folder below `parents` that has C files in it."""
    return sorted({str(path.parent.relative_to(top)) for parent in parents
                   for path in (top / parent).rglob("*.[ch]")})


def c_files(room, top=TOP):
    return sorted((top / room).glob("*.[ch]"))


def public_headers(top=TOP):
    return sorted(path for parent in ("lib", "drivers") for path in (top / parent).rglob(PUBLIC))


def without_comments(text, strings=True):
    """Blanks instead of comments (and of strings), so that offsets and lines stay."""
    def blank(match):
        token = match.group(0)
        if token[0] in "\"'" and not strings:
            return token
        return re.sub(r"[^\n]", " ", token)
    return _TOKENS.sub(blank, text)


def includes(path):
    """(True for <...>, name) of each #include."""
    text = without_comments(path.read_text(), strings=False)
    return [(kind == "<", name) for kind, name in _INCLUDE.findall(text)]


def none(problems):
    """Assert that there are none, else name every one."""
    problems = list(problems)
    assert not problems, "\n".join(["", *problems])


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
