# SPDX-License-Identifier: BSD-3-Clause
"""Builds the guest's file system: busybox, kernel modules and the two scripts of guest/."""

import os
import re
import shutil
import subprocess
import tempfile

from . import cache, stopping, supervise
from .errors import TestvmError

GUEST_DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
BUILD_SECONDS = 60


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _busybox():
    path = shutil.which("busybox")
    if not path:
        raise TestvmError("no busybox for the guest: install busybox-static")
    return path


def _needed(path):
    """{path in the guest: bytes} of the libraries that a program or a library needs."""
    libraries = re.findall(r"(/\S+) \(0x", supervise.run(["ldd", path], BUILD_SECONDS))
    return {library.lstrip("/"): _read(library) for library in libraries}


def _program(name):
    """{path in the guest: bytes} of a program of this machine and the libraries that it needs."""
    path = shutil.which(name)
    if not path:
        raise TestvmError(f"no {name} for the guest: install it")
    return {f"bin/{os.path.basename(path)}": _read(path), **_needed(path)}


def _library(path):
    """As _program(); it is where it is on this machine."""
    if not os.path.exists(path):
        raise TestvmError(f"no {path} for the guest: install it")
    return {path.lstrip("/"): _read(path), **_needed(path)}


def _contents(busybox, modules, programs, libraries, scripts):
    """{path in the guest: bytes}."""
    files = {"bin/busybox": _read(busybox)}
    for program in programs:
        files.update(_program(program))
    for library in libraries:
        files.update(_library(library))
    for script in (*(os.path.join(GUEST_DIRECTORY, name) for name in ("init", "agent")), *scripts):
        files[os.path.basename(script)] = _read(script)
    for index, (name, data) in enumerate(modules):
        files[f"modules/{index:02}-{name}.ko"] = data
    return files


def _fill(tree, files, applets):
    for path, data in files.items():
        full = os.path.join(tree, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
        os.chmod(full, 0o755)
    for applet in applets:
        if not os.path.lexists(os.path.join(tree, "bin", applet)):
            os.symlink("busybox", os.path.join(tree, "bin", applet))
    for name in ("proc", "sys", "dev", "run", "tmp"):
        os.mkdir(os.path.join(tree, name))


def _archive(tree):
    names = []
    for directory, folders, files in os.walk(tree):
        names += [os.path.relpath(os.path.join(directory, name), tree) for name in folders + files]
    done = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "--reproducible"], cwd=tree,
                          input="\n".join(sorted(names)).encode(), capture_output=True, timeout=BUILD_SECONDS,
                          check=False)
    if done.returncode:
        raise TestvmError(f"cpio: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def build(store, kernel, module_names, programs=(), scripts=(), libraries=()):
    """programs: names, or paths, of programs of this machine to take along. libraries: paths of what they load by themselves.
    scripts: paths of more files for the guest's root; one named "early" is run before the modules are loaded.
    @return path of a cpio archive in store (a Cache), made now or found there."""
    busybox = _busybox()
    files = _contents(busybox, kernel.modules(module_names), programs, libraries, scripts)
    recipe = _read(os.path.abspath(__file__))
    key = cache.content_hash([recipe, *(part for path in sorted(files) for part in (path, files[path]))])
    name = f"initramfs-{key}.cpio"
    with store.locked("initramfs"), stopping.deferred():
        if not os.path.exists(store.path(name)):
            applets = supervise.run([busybox, "--list"], BUILD_SECONDS).split()
            with tempfile.TemporaryDirectory(prefix="ringpass-initramfs-") as tree:
                _fill(tree, files, applets)
                store.write(name, _archive(tree))
    return store.path(name)
