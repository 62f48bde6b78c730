# SPDX-License-Identifier: BSD-3-Clause
"""Bad arguments: one line that names the argument, the key and what was expected; exit status 2."""
import os
import pathlib
import subprocess
import tempfile
import unittest

BUILD = os.environ.get("RINGPASS_BUILD_DIR") or pathlib.Path(__file__).resolve().parents[4] / "build"
SOFTACCEL = os.path.join(BUILD, "app", "softaccel", "softaccel")
EAL = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "64", "--log-level=error"]


def run(*arguments, eal=()):
    return subprocess.run([SOFTACCEL, *eal, "--", *arguments], capture_output=True, text=True, timeout=50, check=False)


class Arguments(unittest.TestCase):
    """Each case never gets as far as listening."""

    def refused(self, *arguments, words, eal=()):
        done = run(*arguments, eal=eal)
        lines = done.stderr.splitlines()
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(len(lines), 1, done.stderr)
        for word in ("expected", *words):
            self.assertIn(word, lines[0])

    def test_missing(self):
        self.refused(words=["--function"])
        self.refused("--function", "queue_pairs=1", words=["--function", "socket"])
        self.refused("--function", words=["--function"])

    def test_keys(self):
        self.refused("--function", "socket=s,queues=2", words=["--function", "'queues'", "queue_pairs"])
        self.refused("--function", "socket=s,socket=t", words=["--function", "socket", "twice"])
        self.refused("--function", "", words=["--function"])

    def test_values(self):
        cases = {
            "queue_pairs": ["0", "129", "-1", "two", "1x", ""],
            "queue_size": ["0", "100", "65536", "1k"],
            "mac": ["1", "52:54:00:00:00", "01:00:5e:00:00:01", "00:00:00:00:00:00"],
            "group": ["", "g" * 32],
            "doorbell": ["paged", ""],
            "packed": ["yes", "1", ""],
            "in_order": ["no", ""],
            "dma": ["direct", ""],
        }
        for key, values in cases.items():
            for value in values:
                with self.subTest(key=key, value=value):
                    self.refused("--function", f"socket=s,{key}={value}", words=["--function", key])
        self.refused("--function", "socket=" + "s" * 108, words=["socket", "107"])

    def test_copies(self):
        self.refused("--function", "socket=s", "--copies", "three", words=["--copies", "'three'", "one or two"])
        self.refused("--function", "socket=s", "--isa", "", words=["--isa", "auto or generic"])
        self.refused("--function", "socket=s", "--isa", words=["--isa"])

    def test_socket_of_another(self):
        self.refused("--function", "socket=s", "--function", "socket=s", words=["socket", "'s'"])

    def test_unknown_argument(self):
        self.refused("--functions=1", words=["--functions=1"])
        self.refused("function", words=["function"])

    def test_uplink(self):
        with tempfile.TemporaryDirectory() as directory:
            self.refused("--function", f"socket={directory}/s", "--uplink", "net_none0",
                         words=["--uplink", "'net_none0'", "ethdev"], eal=EAL)

    def test_help(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("usage: softaccel", done.stdout)
        self.assertIn("packed=on|off", done.stdout)
        self.assertIn("in_order=on|off", done.stdout)
        self.assertIn("dma=auto|messages", done.stdout)
        self.assertIn("--copies    one|two", done.stdout)
        self.assertIn("--isa       auto|generic", done.stdout)
