# SPDX-License-Identifier: BSD-3-Clause
"""ringpass-pmdinfo on ringpassd, on files made for the purpose, and on files that are none."""

import json
import os
import pathlib
import random
import re
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
TOOL = str(TOP / "usertools" / "ringpass-pmdinfo")
BUILD = pathlib.Path(os.environ.get("RINGPASS_BUILD_DIR", TOP / "build"))
DAEMON = BUILD / "app" / "ringpassd" / "ringpassd"
LIMIT_S = 60

TWO_DRIVERS = """
#include "rp_accel_info.h"
#define DEVICE 0x1040u
RP_ACCEL_DRIVER_INFO(b, "beta", "beta,device=DDDD:BB:DD.F[,wait_ms=N][,mode=fast|slow]",
                     RP_ACCEL_PCI_ID(0x1af4u, DEVICE + 1u) "," RP_ACCEL_PCI_ID(0x15b3, 4119));
RP_ACCEL_DRIVER_INFO(a, "alpha", "alpha", "");
int main(void) { return 0; }
"""


def run(*arguments):
    return subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT_S, check=False,
                          stdin=subprocess.DEVNULL)


def refused(path, words):
    done = run(path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"ringpass-pmdinfo: {path}: ") and len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def compile_c(tmp_path, text, name, *options):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    target = tmp_path / name
    subprocess.run([compiler, "-I", str(TOP / "lib/accel"), "-x", "c", "-", "-o", str(target), *options],
                   input=text, text=True, check=True, timeout=LIMIT_S)
    return target


def section(tmp_path, content, name="made"):
    """An object file whose section has this text."""
    escaped = "".join(f"\\{byte:03o}" for byte in content)
    return compile_c(tmp_path, f'__attribute__((section(".ringpass.drivers"))) const char it[{len(content)}] = '
                               f'"{escaped}";\n', name, "-c")


@pytest.mark.parametrize("options", [("-c",), (), ("-static-pie",), ("-shared", "-fPIC"),
                                     ("-O2", "-s", "-ffunction-sections", "-fdata-sections")],
                         ids=["object", "program", "static", "library", "stripped"])
def test_what_was_written_is_read(tmp_path, options):
    path = compile_c(tmp_path, TWO_DRIVERS, "made", *options)
    done = run("--json", path)
    assert done.returncode == 0, done
    assert json.loads(done.stdout) == {"file": str(path), "drivers": [
        {"name": "alpha", "usage": "alpha", "arguments": [], "pci_ids": []},
        {"name": "beta", "usage": "beta,device=DDDD:BB:DD.F[,wait_ms=N][,mode=fast|slow]", "arguments": [
            {"key": "device", "value": "DDDD:BB:DD.F", "required": True},
            {"key": "wait_ms", "value": "N", "required": False},
            {"key": "mode", "value": "fast|slow", "required": False}],
         "pci_ids": [{"vendor": "1af4", "device": "1041"}, {"vendor": "15b3", "device": "1017"}]}]}


def test_for_people(tmp_path):
    done = run(compile_c(tmp_path, TWO_DRIVERS, "made", "-c"))
    assert done.stdout.splitlines() == [
        "alpha: alpha",
        "  PCI ids: goes by none",
        "beta: beta,device=DDDD:BB:DD.F[,wait_ms=N][,mode=fast|slow]",
        "  device   DDDD:BB:DD.F",
        "  wait_ms  N  (optional)",
        "  mode     fast|slow  (optional)",
        "  PCI ids: 1af4:1041 15b3:1017"]


def test_a_big_endian_object(tmp_path):
    compiler = shutil.which("s390x-linux-gnu-gcc")
    if compiler is None:
        pytest.skip("no s390x compiler")
    path = tmp_path / "made.o"
    subprocess.run([compiler, "-c", "-I", str(TOP / "lib/accel"), "-x", "c", "-", "-o", str(path)],
                   input=TWO_DRIVERS, text=True, check=True, timeout=LIMIT_S)
    assert [driver["name"] for driver in json.loads(run("--json", path).stdout)["drivers"]] == ["alpha", "beta"]


@pytest.fixture
def daemon():
    if not DAEMON.exists():
        pytest.skip("no ringpassd in the build directory")
    return DAEMON


def what_it_knows(daemon, tmp_path, arguments):
    """The names that ringpassd itself says it had expected."""
    config = tmp_path / "config"
    config.write_text(f'ports = ( {{ name = "p"; socket = "/p"; accelerators = ( "{arguments}" ); }} );\n')
    done = subprocess.run([str(daemon), "--config", str(config), "--check"], capture_output=True, text=True,
                          timeout=LIMIT_S, check=False)
    known = re.search(r"'no_such': unknown, expected one of: (.*)", done.stdout + done.stderr)
    assert known, done
    return known.group(1).split(", ")


def test_ringpassd_has_what_it_says(daemon, tmp_path):
    """All drivers of the program, with the very keys that the program takes."""
    drivers = json.loads(run("--json", daemon).stdout)["drivers"]
    names = [driver["name"] for driver in drivers]
    assert "vfio-user" in names and names == sorted(what_it_knows(daemon, tmp_path, "no_such"))
    for driver in drivers:
        assert driver["usage"].startswith(driver["name"] + ",")
        assert [argument["key"] for argument in driver["arguments"]] == \
            what_it_knows(daemon, tmp_path, f"{driver['name']},no_such=1")
        # What drivers/virtio/device.c takes.
        assert driver["pci_ids"] == [{"vendor": "1af4", "device": "1000"}, {"vendor": "1af4", "device": "1041"}]


def test_several_files(daemon, tmp_path):
    done = run("/dev/null", daemon, tmp_path / "none")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert done.stdout.splitlines()[0] == f"{daemon}:"


def test_what_has_no_drivers(tmp_path):
    refused(compile_c(tmp_path, "int main(void) { return 0; }\n", "made"), "no driver of Ringpass is in it")
    refused(tmp_path / "none", "No such file or directory")
    refused(tmp_path, "Is a directory")
    for content in b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF" + bytes(60):
        (tmp_path / "odd").write_bytes(content)
        refused(tmp_path / "odd", "ELF file")
    (tmp_path / "odd.a").write_bytes(b"!<arch>\n")
    refused(tmp_path / "odd.a", "found an archive")


GOOD = b'{"name":"a","usage":"a,b=C","pci_ids":[{"vendor":"0x1","device":"2u + 1"}]}'


def test_padding_between_objects(tmp_path):
    path = section(tmp_path, b"\0\0" + GOOD + bytes(31) + GOOD.replace(b'"a"', b'"z"') + b"\0\0\0")
    assert [driver["name"] for driver in json.loads(run("--json", path).stdout)["drivers"]] == ["a", "z"]


@pytest.mark.parametrize("old, new", [
    (b"{", b""), (b'"name":"a",', b""), (b'"a"', b"1"), (b'"a"', b'""'), (b'"a"', rb'"\u001b[2J"'),
    (b'"0x1"', b'"0x10000"'), (b'"0x1"', b'"-1"'), (b'"0x1"', b'"vendor"'), (b'"0x1"', b"1"), (b'"0x1"', b"null"),
    (b'[{', b'[[{'), (b'"usage":"a,b=C"', b'"usage":{}'), (GOOD, b"[" * 5000), (GOOD, b"\xff\xfe"), (GOOD, b"7"),
])
def test_a_section_that_lies(tmp_path, old, new):
    assert old in GOOD
    refused(section(tmp_path, GOOD.replace(old, new, 1)), "not a driver's description")


def test_damaged_files(tmp_path):
    """Whatever is changed or cut off: an answer or one line, in time."""
    good = section(tmp_path, GOOD).read_bytes()
    source = random.Random(5)
    path = tmp_path / "damaged"
    for turn in range(40):
        bad = bytearray(good[:source.randrange(len(good))] if turn % 2 else good)
        for _ in range(source.randrange(1, 6)):
            if bad:
                # Most of what matters is in the headers, at the begin and at the end.
                at = source.choice((source.randrange(min(64, len(bad))),
                                    len(bad) - 1 - source.randrange(len(bad) // 2 + 1)))
                bad[at] = source.choice((0, 1, 0x7f, 0x80, 0xff, source.randrange(256)))
        path.write_bytes(bytes(bad))
        done = run("--json", path)
        assert done.returncode in (0, 1), done
        assert len((done.stdout + done.stderr).splitlines()) == 1, done


@pytest.mark.parametrize("arguments", [[], ["--no-such-option", "x"]])
def test_bad_arguments(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "--help" in done.stderr
