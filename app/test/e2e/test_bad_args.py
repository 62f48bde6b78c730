# SPDX-License-Identifier: BSD-3-Clause
"""Bad configuration and arguments: one line that names the place, the key and what was expected."""

import subprocess

import pytest

SECONDS = 60
PORT = 'ports = (\n  {{ name = "vm0";\n    socket = "{d}/vm0.sock";\n    {key} }}\n);\n'


def refused(command):
    """@return the one line that a program leaves when it does not start."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False,
                          stdin=subprocess.DEVNULL)
    lines = done.stderr.splitlines()
    assert done.returncode == 2, done
    assert len(lines) == 1, done
    return lines[0]


def ringpassd(supervisor, build, text):
    path = supervisor.path("bad.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    line = refused([build.program("ringpassd"), "--config", path, "--rpc", supervisor.path("rpc.sock")])
    assert line.startswith(path)
    return line.removeprefix(path)


@pytest.mark.parametrize("key, words", [
    ('queue_pairs = "two"; accelerators = ( "vfio-user,socket=/s" );', ["4", "queue_pairs", "two", "expected"]),
    ('queue_pairs = 1000; accelerators = ( "vfio-user,socket=/s" );', ["4", "queue_pairs", "1000", "expected"]),
    ('mode = "peer"; accelerators = ( "vfio-user,socket=/s" );', ["4", "mode", "peer", "expected", "server", "client"]),
    ('queue_pair = 2; accelerators = ( "vfio-user,socket=/s" );', ["4", "queue_pair", "expected", "queue_pairs"]),
    ('accelerators = "vfio-user,socket=/s";', ["4", "accelerators", "expected"]),
    ('accelerators = ( "vfio-usr,socket=/s" );', ["4", "accelerators", "vfio-usr", "expected"]),
    ('queue_pairs = 2;', ["2", "accelerators", "expected"]),
    ('queue_pairs 2;', ["4", "expected"]),
])
def test_configuration(supervisor, build, key, words):
    line = ringpassd(supervisor, build, PORT.format(d=supervisor.directory, key=key))
    where, what = line[1:].split(":", 1)
    assert where == words[0]
    for word in words[1:]:
        assert word in what


def test_no_configuration(supervisor, build):
    path = supervisor.path("nothing.conf")
    line = refused([build.program("ringpassd"), "--config", path])
    assert path in line and "expected" in line


@pytest.mark.parametrize("arguments, words", [
    (["--function", "queue_pairs=2"], ["--function", "socket", "expected"]),
    (["--function", "socket=s,queue_pairs=0"], ["queue_pairs", "'0'", "expected"]),
    (["--function", "socket=s,mac=x"], ["mac", "'x'", "expected"]),
    (["--function", "socket=s,pairs=1"], ["'pairs'", "expected", "queue_pairs"]),
    ([], ["--function", "expected"]),
])
def test_softaccel(build, arguments, words):
    line = refused([build.program("softaccel"), "--", *arguments])
    for word in words:
        assert word in line


def test_ctl(supervisor, build):
    line = refused([build.tool("ringpass-ctl"), "disable", "vm0"])
    assert "queue" in line
    done = subprocess.run([build.tool("ringpass-ctl"), "--rpc", supervisor.path("nobody.sock"), "list"],
                          capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "ringpassd" in done.stderr
