# SPDX-License-Identifier: BSD-3-Clause
"""The main job with QEMU's current release: other messages, acknowledgements of more of them, MSI-X under TCG."""

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import TOP

DEMO_SECONDS = 600


def test_demo(build):
    program = os.path.join(build.directory, "qemu-current", "ringpass-qemu")
    if not os.path.exists(program):
        pytest.skip("no current QEMU here: devtools/install-current-qemu could not install it")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert int(re.search(r"version (\d+)", version).group(1)) >= 10
    demo = subprocess.run([sys.executable, str(TOP / "usertools" / "ringpass-demo"), "--build-dir", build.directory],
                          env={**os.environ, "RINGPASS_QEMU": program}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEMO_SECONDS)
    print(demo.stdout)
    assert demo.returncode == 0
    result = json.loads(demo.stdout.strip().splitlines()[-1])
    assert result["demo"] == "ok"
    assert result["direct_kicks"] > 0
    assert result["relayed_kicks_after_map"] == 0
    assert result["relayed_interrupts"] == 0
