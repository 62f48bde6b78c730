# SPDX-License-Identifier: BSD-3-Clause
"""The pages name every method and every key that the code has, and none besides."""

import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[4]


def names_in_code(name):
    return re.findall(r'\.name = "([\w.]+)"', (TOP / "app" / "ringpassd" / name).read_text())


def names_in_table(page, title):
    text = (TOP / "doc" / page).read_text().split(f"\n{title}\n", 1)[1]
    table = text.split("\n|---", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)


def test_methods():
    assert sorted(names_in_table("protocol/rpc.md", "## Methods")) == sorted(names_in_code("methods.c"))


def test_keys():
    assert sorted(names_in_table("guides/ringpassd.md", "### Ports")) == sorted(names_in_code("spec.c"))
