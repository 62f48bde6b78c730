# SPDX-License-Identifier: BSD-3-Clause
"""The functions that a header declares, each with the comment that belongs to it."""

import dataclasses
import re

import house

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\(.*?\)\)\s*$", re.DOTALL)
# A name before the first parenthesis: not a typedef, not a pointer to a function.
_FUNCTION = re.compile(r"^(?P<type>[\w\s*]*?[\s*])(?P<name>\w+)\s*\([^*]", re.DOTALL)


@dataclasses.dataclass
class Function:
    name: str
    line: int
    returns: str
    doc: str  # "" when there is none


def _blanked(pattern, text):
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), text)


def _statements(code):
    """(begin, end) of each declaration or definition at the outermost level."""
    depth = 0
    begin = None
    for offset, char in enumerate(code):
        if begin is None and not char.isspace():
            begin = offset
        if char in "{(":
            depth += 1
        elif char in "})":
            depth -= 1
        if begin is None or depth:
            continue
        statement = code[begin:offset + 1]
        body_ends = char == "}" and re.search(r"\)\s*\{", statement) is not None
        if char == ";" or body_ends:
            yield begin, offset + 1
            begin = None


def _doc_of(text, begin, end):
    """The /** */ that ends just above, or the /**< */ that begins on the same line."""
    after = re.match(r"[ \t]*/\*\*<.*?\*/", text[end:], re.DOTALL)
    if after:
        return after.group(0)
    for comment in _COMMENT.finditer(text, 0, begin):
        between = text[comment.end():begin]
        if between.strip() or between.count("\n") > 1:
            continue
        line_begin = text.rfind("\n", 0, comment.start()) + 1
        stands_alone = not text[line_begin:comment.start()].strip()
        if stands_alone and comment.group(0).startswith("/**") and "@file" not in comment.group(0):
            return comment.group(0)
    return ""


def functions(text):
    code = _blanked(_DIRECTIVE, house.without_comments(text))
    found = []
    for begin, end in _statements(code):
        statement = re.sub(r"\{.*", "", code[begin:end], flags=re.DOTALL).rstrip("; \t\n")
        match = _FUNCTION.match(_ATTRIBUTE.sub("", statement))
        if match is None or match.group("type").split()[0] == "typedef":
            continue
        words = [word for word in match.group("type").split() if word not in ("static", "inline", "extern")]
        found.append(Function(match.group("name"), house.line_of(text, begin), " ".join(words),
                              _doc_of(text, begin, end)))
    return found


def file_comment(text):
    for comment in _COMMENT.finditer(text):
        if "@file" in comment.group(0):
            return comment.group(0)
    return ""
