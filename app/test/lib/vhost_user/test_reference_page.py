# SPDX-License-Identifier: BSD-3-Clause
"""The tables of doc/protocol/vhost-user.md are those of lib/vhost_user/msg_table.c."""

import os
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[4]
PAGE = TOP / "doc" / "protocol" / "vhost-user.md"
BUILD = pathlib.Path(os.environ.get("RINGPASS_BUILD_DIR", TOP / "build"))


def test_message_tables_are_those_of_the_code():
    program = BUILD / "app" / "test" / "lib" / "vhost_user" / "print_msg_table"
    printed = subprocess.run([program], check=True, capture_output=True, text=True, timeout=30).stdout
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d+ \| [A-Z_]+ \|", line)]
    assert rows == [line for line in printed.splitlines() if line]
