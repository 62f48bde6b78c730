# SPDX-License-Identifier: BSD-3-Clause
"""What the built libraries export can clash with nobody, and protocol libraries need no DPDK."""

import os
import pathlib
import re
import shutil
import subprocess

import house
import pytest

# Names that rooms share among their own files, beside rp_. A room that is not here has rp_ only.
INTERNAL_PREFIX = {
    "lib/accel": "accel_",
    "lib/port": "port_",
    "lib/vfio_user": "vfu_",
    "lib/vhost_user": "vhu_",
    "drivers/vfio": "kvfio_",
    "drivers/vfio_user": "vfio_user_",
    "drivers/virtio": "vdrv_",
}
# DPDK, librte_vhost and its virtio PMD export these; the last two have a virtio_reset and the like without rte_.
OTHERS_PREFIX = re.compile(r"(?:rte|vhost|virtio)_")
WITHOUT_DPDK = ("lib/wire", "lib/dma", "lib/vring", "lib/vhost_user", "lib/vfio_user")
# Sanitizers and coverage add names of their own.
INSTRUMENTATION = re.compile(r"__")


def build_dir():
    return pathlib.Path(os.environ.get("RINGPASS_BUILD_DIR", house.TOP / "build"))


def archive_of(room, directory=None):
    found = sorted(((directory or build_dir()) / room).glob("*.a"))
    if not found:
        pytest.skip(f"{room}: no library in the build directory (not built, or RINGPASS_BUILD_DIR is wrong)")
    assert len(found) == 1, f"{room}: {len(found)} libraries"
    return found[0]


def nm(archive, *options):
    run = subprocess.run(["nm", "--extern-only", "--format=posix", *options, str(archive)],
                         check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lines = [line.split() for line in run.stdout.splitlines()]
    return sorted({words[0] for words in lines
                   if len(words) >= 2 and not INSTRUMENTATION.match(words[0])})


def defined(archive):
    return nm(archive, "--defined-only")


def undefined(archive):
    return nm(archive, "--undefined-only")


def misnamed(names, room):
    allowed = ("rp_", INTERNAL_PREFIX[room]) if room in INTERNAL_PREFIX else ("rp_",)
    return [name for name in names if not name.startswith(allowed)]


ROOMS = house.rooms("lib", "drivers")


def test_the_table_takes_nobodys_prefix():
    house.none(prefix for prefix in INTERNAL_PREFIX.values() if OTHERS_PREFIX.match(prefix))


@pytest.mark.parametrize("room", ROOMS)
def test_exported_names_have_the_prefix(room):
    names = defined(archive_of(room))
    assert names
    house.none(misnamed(names, room))


@pytest.mark.parametrize("room", ROOMS)
def test_exported_names_are_not_those_of_others(room):
    house.none(name for name in defined(archive_of(room)) if OTHERS_PREFIX.match(name))


@pytest.mark.parametrize("room", ROOMS)
def test_internal_names_stay_in_their_room(room):
    strangers = tuple(prefix for other, prefix in INTERNAL_PREFIX.items() if other != room)
    house.none(name for name in undefined(archive_of(room)) if name.startswith(strangers))


@pytest.mark.parametrize("room", WITHOUT_DPDK)
def test_protocol_libraries_need_no_dpdk(room):
    house.none(name for name in undefined(archive_of(room)) if name.startswith("rte_"))


def dpdk_includes(room, top=house.TOP):
    return [f"{path.relative_to(top)}: {name}" for path in house.c_files(room, top)
            for _, name in house.includes(path) if pathlib.PurePath(name).name.startswith("rte_")]


@pytest.mark.parametrize("room", WITHOUT_DPDK)
def test_protocol_libraries_include_no_dpdk(room):
    house.none(dpdk_includes(room))


@pytest.fixture
def broken(tmp_path):
    """A build directory whose lib/wire does all that it must not."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    room = tmp_path / "lib/wire"
    room.mkdir(parents=True)
    source = room / "broken.c"
    source.write_text("#include <rte_version.h>\n/* #include <rte_eal.h> */\n"
                      "void rte_free(void *); void vhu_drop(void);\n"
                      "int vhost_enable; static int mine; int *helper(void); int *rp_wire_fine(void);\n"
                      "int *helper(void) { rte_free(0); vhu_drop(); return &mine; }\n"
                      "int *rp_wire_fine(void) { return helper(); }\n")
    subprocess.run([compiler, "-c", "-x", "c", "-", "-o", str(room / "broken.o")], check=True,
                   input=source.read_text().replace("#include <rte_version.h>", ""), text=True)
    subprocess.run(["ar", "rc", str(room / "libbroken.a"), str(room / "broken.o")], check=True)
    return tmp_path


def test_a_wrong_library_is_seen(broken):
    archive = archive_of("lib/wire", broken)
    assert misnamed(defined(archive), "lib/wire") == ["helper", "vhost_enable"]
    assert [name for name in defined(archive) if OTHERS_PREFIX.match(name)] == ["vhost_enable"]
    assert undefined(archive) == ["rte_free", "vhu_drop"]
    assert dpdk_includes("lib/wire", broken) == ["lib/wire/broken.c: rte_version.h"]
