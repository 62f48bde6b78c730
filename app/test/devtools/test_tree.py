# SPDX-License-Identifier: BSD-3-Clause
"""Rules that hold for every file: portable, small, and one place that closes descriptors."""

import os
import pathlib
import re

import house
import pytest

LINES_MAX = 600
# Data may be as long as it is; what people read and change may not.
READ_BY_PEOPLE = {"", ".c", ".h", ".md", ".py", ".sh", ".build", ".yml"}
ONLY_CLOSER = "lib/wire/fd.c"

# In pieces, or this file would find itself.
WORKPLACES = tuple(f"/{name}/" for name in ("work", "farm", "root"))
REGISTRIES = tuple(".".join(words) for words in (
    ("deb", "debian", "org"), ("security", "debian", "org"), ("snapshot", "debian", "org"),
    ("archive", "ubuntu", "com"), ("pypi", "org"), ("pythonhosted", "org"), ("crates", "io"),
    ("npmjs", "org"), ("proxy", "golang", "org"), ("docker", "io")))

# Not a member, not part of a longer name; also the ways around it.
CLOSE = re.compile(r"(?<![\w.>])(?:close|close_range)\s*\(|\bSYS_close\b")


def files(top=house.TOP):
    """What belongs to the project; a directory that meson built in does not."""
    for directory, directories, names in os.walk(top):
        here = pathlib.Path(directory)
        directories[:] = [name for name in directories
                          if name not in (".git", "__pycache__", ".pytest_cache")
                          and not (here / name / "build.ninja").exists()
                          and not (here == top and name.startswith("build"))]
        yield from (here / name for name in names if (here / name).is_file())


def text_of(path):
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


def found_words(words, top=house.TOP):
    return [f"{path.relative_to(top)}: {word}" for path in files(top) for text in [text_of(path)]
            for word in words if word in text]


def found_workplaces(top=house.TOP):
    # A word before it makes it a part of some other path.
    pattern = re.compile(r"(?<![\w.~-])(?:" + "|".join(map(re.escape, WORKPLACES)) + ")")
    return [f"{path.relative_to(top)}:{house.line_of(text, match.start())}: {match.group(0)}"
            for path in files(top) for text in [text_of(path)] for match in pattern.finditer(text)]


def long_files(top=house.TOP):
    return [f"{path.relative_to(top)}: {count} lines" for path in files(top)
            if path.suffix in READ_BY_PEOPLE
            for count in [len(text_of(path).splitlines())] if count > LINES_MAX]


def closers(top=house.TOP):
    found = []
    for room in house.rooms("lib", "drivers", top=top):
        for path in house.c_files(room, top):
            text = house.without_comments(path.read_text())
            found += [f"{path.relative_to(top)}:{house.line_of(text, match.start())}"
                      for match in CLOSE.finditer(text)]
    return found


def test_no_path_of_a_workplace():
    house.none(found_workplaces())


def test_no_host_of_a_registry():
    house.none(found_words(REGISTRIES))


def test_files_are_short():
    house.none(long_files())


def test_one_file_closes_descriptors():
    found = closers()
    house.none(place for place in found if not place.startswith(f"{ONLY_CLOSER}:"))
    assert found, f"{ONLY_CLOSER} calls close(2) no more: then who does?"


@pytest.fixture
def broken(tmp_path):
    room = tmp_path / "lib/wire"
    room.mkdir(parents=True)
    (room / "fd.c").write_text("void f(int fd) { close(fd); }\n")
    (room / "other.c").write_text("/* close(2) */ void g(void) { ops->close(1); fclose(f); x.close(2);\n"
                                  "\tclose (3);\n\tsyscall(SYS_close, 4); }\n")
    (tmp_path / "long.py").write_text("pass\n" * (LINES_MAX + 1))
    (tmp_path / "long.json").write_text("\n" * (LINES_MAX + 1))
    (tmp_path / "notes.md").write_text(f"see {WORKPLACES[0]}main, not doc{WORKPLACES[0]}x;\nhttp://{REGISTRIES[0]}/\n")
    (tmp_path / "build-x").mkdir()
    (tmp_path / "build-x" / "log").write_text(WORKPLACES[2])
    return tmp_path


def test_what_is_wrong_is_seen(broken):
    assert closers(broken) == ["lib/wire/fd.c:1", "lib/wire/other.c:2", "lib/wire/other.c:3"]
    assert long_files(broken) == [f"long.py: {LINES_MAX + 1} lines"]
    assert found_workplaces(broken) == [f"notes.md:1: {WORKPLACES[0]}"]
    assert found_words(REGISTRIES, broken) == [f"notes.md: {REGISTRIES[0]}"]
