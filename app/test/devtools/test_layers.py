# SPDX-License-Identifier: BSD-3-Clause
"""Rooms depend on each other one way, and through public headers only."""

import fnmatch

import house
import pytest

PROTOCOLS = {"lib/wire", "lib/dma", "lib/vring", "lib/vhost_user", "lib/vfio_user"}
ACCEL = PROTOCOLS | {"lib/accel"}
PORT = ACCEL | {"lib/port"}
DRIVERS = {"drivers/vfio", "drivers/vfio_user", "drivers/virtio"}

# What a room may include beside itself. A new room gets a row.
ALLOWED = {
    "lib/wire": set(),
    "lib/dma": {"lib/wire"},
    "lib/vring": {"lib/wire", "lib/dma"},
    "lib/vhost_user": {"lib/wire", "lib/dma"},
    "lib/vfio_user": {"lib/wire", "lib/dma", "lib/vring", "lib/accel"},
    "lib/accel": {"lib/wire", "lib/dma"},
    "lib/port": ACCEL,
    "drivers/vfio": ACCEL,
    "drivers/vfio_rte": ACCEL | {"drivers/vfio"},
    "drivers/vfio_user": ACCEL,
    "drivers/virtio": ACCEL | {"drivers/vfio", "drivers/vfio_user"},
    "app/ringpassd": PORT | DRIVERS,
    "app/softaccel": ACCEL,
    "app/bench": PORT | DRIVERS | {"app/softaccel"},
    "examples/vswitch": PORT | DRIVERS,
    "examples/accelerator": PROTOCOLS,
    "examples/master": PROTOCOLS,
    "examples/proxy": PROTOCOLS,
}
# Libraries that live in an application's room; and what a peer, or a device of the bench, must do by the same functions to
# do the same.
ALSO_PUBLIC = {"softaccel.h", "sa_doorbell.h", "sa_flow.h", "sa_mac.h"}


def rooms(top=house.TOP):
    return [room for room in house.rooms("lib", "drivers", "app", "examples", top=top)
            if not room.startswith("app/test")]


def homes(top=house.TOP):
    """Header name -> the rooms that have one."""
    found = {}
    for room in rooms(top):
        for path in house.c_files(room, top):
            if path.suffix == ".h":
                found.setdefault(path.name, set()).add(room)
    return found


def problems_of(room, where, top=house.TOP):
    for path in house.c_files(room, top):
        for system, name in house.includes(path):
            if system or (path.parent / name).exists():
                continue
            owners = where.get(name, set())
            label = f"{path.relative_to(top)} includes {name}"
            if not owners:
                yield f"{label}, which no room has"
            elif not owners & ALLOWED[room]:
                yield f"{label} of {', '.join(sorted(owners))}, which {room} may not use"
            elif not fnmatch.fnmatch(name, house.PUBLIC) and name not in ALSO_PUBLIC:
                yield f"{label}, which is private to {', '.join(sorted(owners))}"


def test_every_room_has_a_row():
    house.none(room for room in rooms() if room not in ALLOWED)


def test_the_table_has_no_circle():
    for room, uses in ALLOWED.items():
        for used in uses:
            assert room not in ALLOWED[used], f"{room} and {used} use each other"


@pytest.mark.parametrize("room", rooms())
def test_includes_point_one_way(room):
    house.none(problems_of(room, homes()))


@pytest.mark.parametrize("room, name, words", [
    ("lib/wire", "rp_dma.h", "may not use"),
    ("lib/dma", "rp_vring_dev.h", "may not use"),
    ("lib/vhost_user", "rp_vfu_client.h", "may not use"),
    ("lib/accel", "rp_port.h", "may not use"),
    ("lib/port", "rp_virtio.h", "may not use"),
    ("drivers/virtio", "rp_port.h", "may not use"),
    ("app/softaccel", "rp_port.h", "may not use"),
    ("app/ringpassd", "port.h", "private"),
    ("lib/port", "no_such.h", "no room"),
])
def test_a_wrong_include_is_seen(tmp_path, room, name, words):
    (tmp_path / room).mkdir(parents=True)
    (tmp_path / room / "broken.c").write_text(f'#include "{name}"\n')
    found = list(problems_of(room, homes(), tmp_path))
    assert len(found) == 1 and words in found[0]
