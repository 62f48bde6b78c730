# SPDX-License-Identifier: BSD-3-Clause
"""ringpass-devbind on trees like /sys, with a kernel that does what ours does; the real one is in the hardware VM."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_devbind import change, cli, inuse  # noqa: E402
from ringpass_devbind.errors import DevbindError  # noqa: E402
from ringpass_devbind.sysfs import Sysfs, virtio_kind  # noqa: E402

TOOL = str(TOP / "usertools" / "ringpass-devbind")
LIMIT_S = 60
NET, DISK, BRIDGE = 0x020000, 0x010000, 0x060400
A, B, C = "0000:00:04.0", "0000:00:05.0", "0000:3b:00.1"


def configuration(*caps):
    """256 bytes with these virtio capabilities."""
    config = bytearray(256)
    at = 0x40
    if caps:
        config[0x06] |= 0x10
        config[0x34] = at
    for cap in caps:
        config[at], config[at + 1], config[at + 3] = 9, at + 0x10, cap
        at += 0x10
    if caps:
        config[at - 0x0f] = 0
    return bytes(config)


class Tree:
    """A /sys of our own making."""

    def __init__(self, root):
        self.root = root
        self.pci = root / "bus" / "pci"
        for name in "devices", "drivers/vfio-pci", "drivers/virtio-pci", "drivers/pcieport", "drivers/nvme":
            (self.pci / name).mkdir(parents=True)
        (self.pci / "drivers_probe").write_text("")

    def add(self, address, device=0x1041, vendor=0x1af4, class_code=NET, driver="virtio-pci", group="7",
            config=None, numa="0", interface=None):
        at = self.pci / "devices" / address
        at.mkdir()
        for name, text in (("vendor", f"0x{vendor:04x}"), ("device", f"0x{device:04x}"),
                           ("class", f"0x{class_code:06x}"), ("numa_node", numa), ("driver_override", "(null)")):
            (at / name).write_text(text + "\n")
        (at / "config").write_bytes(configuration(1, 2, 4, 3) if config is None else config)
        if driver:
            (self.pci / "drivers" / driver / "unbind").write_text("")
            (at / "driver").symlink_to(self.pci / "drivers" / driver)
        if group:
            members = self.root / "kernel" / "iommu_groups" / group / "devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(at)
            (at / "iommu_group").symlink_to(members.parent)
        if interface:
            (at / "virtio1" / "net" / interface).mkdir(parents=True)
            (self.root / "class" / "net" / interface).mkdir(parents=True)
        return self

    def driver(self, address):
        link = self.pci / "devices" / address / "driver"
        return link.resolve().name if link.is_symlink() else None

    def override(self, address):
        return (self.pci / "devices" / address / "driver_override").read_text().strip()


class Kernel(Sysfs):
    """Does what a write means; remembers each. `refuses`: vfio-pci takes nobody; `fails`: where a write fails."""

    refuses = ()
    fails = {}
    written = []

    def write(self, text, *names):
        path = os.path.join(*names)
        Kernel.written.append((os.path.relpath(path, self.root), text))
        for part, error in Kernel.fails.items():
            if part in path:
                raise OSError(error, os.strerror(error))
        if path.endswith("unbind"):
            os.unlink(self.path(text, "driver"))
        elif path.endswith("drivers_probe"):
            self._probe(text)
        else:
            super().write(text, *names)

    def _probe(self, address):
        wanted = self.text(self.path(address), "driver_override")
        name = wanted if wanted not in ("", "(null)") else "virtio-pci"
        if os.path.exists(self.path(address, "driver")) or (name == "vfio-pci" and address in Kernel.refuses):
            return
        driver = os.path.join(self.drivers, name)
        with open(os.path.join(driver, "unbind"), "w", encoding="ascii"):
            pass
        os.symlink(driver, self.path(address, "driver"))


@pytest.fixture(autouse=True)
def kernel():
    Kernel.refuses, Kernel.fails, Kernel.written = (), {}, []
    return Kernel


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "sys")


@pytest.fixture(autouse=True)
def ip(tmp_path, monkeypatch):
    """An ip(8) that says what the test wants, by its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    answers = folder / "answers"
    answers.mkdir()
    program = folder / "ip"
    program.write_text(f'#!/bin/sh\nfile="{answers}/$(echo "$*" | tr " /" "__")"\n'
                       '[ ! -e "$file" ] && echo "[]" || cat "$file"\n[ ! -e "$file.fails" ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def says(arguments, text, fails=False):
        name = "-json_" + arguments.replace(" ", "_")
        (answers / name).write_text(text)
        if fails:
            (answers / f"{name}.fails").write_text("")
    return says


def command(tree, *arguments):
    """As a user calls it."""
    return subprocess.run([TOOL, "--sysfs", str(tree.root), *arguments], capture_output=True, text=True,
                          timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL)


def call(tree, *arguments):
    """In this process, with the kernel's part done. @return the exit status."""
    return cli.main(["--sysfs", str(tree.root), *arguments], make_sysfs=Kernel)


def refused(capsys, tree, *arguments):
    before = {address: tree.driver(address) for address in os.listdir(tree.pci / "devices")}
    assert call(tree, *arguments) == 1
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1 and told.err.startswith("ringpass-devbind: ")
    assert before == {address: tree.driver(address) for address in before}
    return told.err


def test_show(tree):
    tree.add(A, group="7", interface="eth3").add(B, group="8", device=0x1000, numa="-1")
    tree.add("0000:00:01.0", device=0x2922, vendor=0x8086, class_code=DISK, driver="nvme", group="9")
    tree.add(C, device=0x1017, vendor=0x15b3, driver="vfio-pci", group="9", numa="1")
    done = command(tree, "show")
    assert done.returncode == 0, done
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["FUNCTION", "IDS", "VIRTIO", "DRIVER", "GROUP", "SHARED-WITH", "NUMA", "INTERFACE", "IN-USE"],
        [A, "1af4:1041", "modern", "virtio-pci", "7", "-", "0", "eth3", "-"],
        [B, "1af4:1000", "transitional", "virtio-pci", "8", "-", "-", "-", "-"],
        [C, "15b3:1017", "-", "vfio-pci", "9", "0000:00:01.0", "1", "-", "-"]]
    assert len(command(tree, "show", "--all").stdout.splitlines()) == 5
    assert len(command(tree, "show", "00:01.0", "eth3", A).stdout.splitlines()) == 3


def test_show_in_json(tree):
    tree.add(A, interface="eth3").add(B, driver=None, group=None)
    done = command(tree, "show", "--json")
    assert json.loads(done.stdout) == {"devices": [
        {"address": A, "vendor": "1af4", "device": "1041", "class_code": "020000", "driver": "virtio-pci",
         "group": "7", "group_members": [], "numa_node": 0, "virtio": "modern", "interfaces": ["eth3"],
         "in_use": None},
        {"address": B, "vendor": "1af4", "device": "1041", "class_code": "020000", "driver": None,
         "group": None, "group_members": [], "numa_node": 0, "virtio": "modern", "interfaces": [],
         "in_use": None}]}


@pytest.mark.parametrize("device, config, kind", [
    (0x1041, b"", "modern"), (0x107f, b"", "modern"), (0x1080, b"", None), (0x0fff, b"", None),
    (0x1000, configuration(1, 3), "transitional"), (0x1000, configuration(3, 2, 1), "transitional"),
    (0x1000, configuration(), "legacy"), (0x1000, configuration(2, 5), "legacy"),
    (0x1000, configuration(1)[:64], "unknown"), (0x1000, b"", "unknown"),
])
def test_virtio_kinds(device, config, kind):
    assert virtio_kind(0x1af4, device, config) == kind
    assert virtio_kind(0x1af5, device, config) is None


def test_a_capability_list_that_lies():
    """It ends, whatever it says."""
    circle = bytearray(configuration(2, 3))
    circle[0x51] = 0x40
    beyond = bytearray(configuration(2))
    beyond[0x41] = 0xfc
    low = bytearray(configuration(2))
    low[0x34] = 0x08
    for config in circle, beyond, low, bytes([0xff] * 256):
        assert virtio_kind(0x1af4, 0x1000, bytes(config)) == "legacy"


def test_bind_and_back(tree, capsys, kernel):
    tree.add(A).add(B, group="8")
    assert call(tree, "bind", "00:04.0") == 0
    assert tree.driver(A) == "vfio-pci" and tree.driver(B) == "virtio-pci"
    assert kernel.written == [(f"bus/pci/devices/{A}/driver_override", "vfio-pci\n"),
                              (f"bus/pci/devices/{A}/driver/unbind", A), ("bus/pci/drivers_probe", A)]
    assert capsys.readouterr().out.splitlines()[1].split()[:5] == [A, "1af4:1041", "modern", "vfio-pci", "7"]
    # Twice is once.
    kernel.written.clear()
    assert call(tree, "bind", A) == 0
    assert kernel.written == []
    capsys.readouterr()
    assert call(tree, "--json", "unbind", A) == 0
    assert tree.driver(A) == "virtio-pci" and tree.override(A) == ""
    assert json.loads(capsys.readouterr().out)["devices"][0]["driver"] == "virtio-pci"


def test_a_function_without_a_driver(tree):
    tree.add(A, driver=None)
    assert call(tree, "bind", A, A) == 0
    assert tree.driver(A) == "vfio-pci"


def test_no_iommu(tree, capsys):
    tree.add(A, group=None)
    assert "it has no IOMMU group: switch the IOMMU on" in refused(capsys, tree, "bind", A, "--force")


def test_a_shared_group(tree, capsys, kernel):
    tree.add(A).add(B).add(C, class_code=DISK, driver=None)
    words = refused(capsys, tree, "bind", A, "--force")
    assert f"shares IOMMU group 7 with {B} (1af4:1041, virtio-pci), {C} (1af4:1041, no driver): whoever" in words
    assert B not in refused(capsys, tree, "bind", A, B)
    assert kernel.written == []
    # All of it, or with what does no harm: bridges, and what vfio-pci has.
    assert call(tree, "bind", A, B, C, "--force") == 0
    assert [tree.driver(address) for address in (A, B, C)] == ["vfio-pci"] * 3
    capsys.readouterr()
    assert call(tree, "unbind", A) == 0
    assert call(tree, "bind", A) == 0


def test_a_bridge_in_the_group(tree, capsys):
    tree.add(A).add(B, class_code=BRIDGE, driver="pcieport")
    assert call(tree, "bind", A) == 0
    capsys.readouterr()
    assert "bridge" in refused(capsys, tree, "bind", B, "--force")


def test_an_interface_in_use(tree, ip, capsys):
    tree.add(A, interface="eth3")
    ip("address show dev eth3", '[{"addr_info": [{"local": "fe80::1", "prefixlen": 64, "scope": "link"}]}]')
    ip("-6 route show dev eth3", '[{"dst": "fe80::/64"}, {"dst": "ff00::/8"}]')
    assert json.loads(command(tree, "show", "--json").stdout)["devices"][0]["in_use"] is None
    ip("-4 route show dev eth3", '[{"dst": "default"}]')
    assert "eth3 has a route to default: it would be gone" in refused(capsys, tree, "bind", "eth3")
    ip("address show dev eth3", '[{"addr_info": [{"local": "10.0.0.2", "prefixlen": 24, "scope": "global"}]}]')
    assert "eth3 has the address 10.0.0.2/24" in refused(capsys, tree, "bind", A)
    assert call(tree, "bind", "--force", A) == 0
    assert tree.driver(A) == "vfio-pci"


def test_an_interface_of_a_bridge(tree, capsys):
    tree.add(A, interface="eth3")
    (tree.root / "class" / "net" / "eth3" / "master").symlink_to(tree.root / "class" / "net" / "br0")
    assert "eth3 is part of br0" in refused(capsys, tree, "bind", A)


@pytest.mark.parametrize("text, fails", [("[]", True), ("no JSON", False), ('[{"addr_info": [{}]}]', False),
                                         ("[7]", False)])
def test_an_ip_that_does_not_say(tree, ip, capsys, text, fails):
    """A doubt is a use."""
    tree.add(A, interface="eth3")
    ip("address show dev eth3", text, fails)
    assert "eth3 may be in use: ip(8) does not say" in refused(capsys, tree, "bind", A)


def test_what_is_no_network_function(tree, capsys):
    tree.add(A, class_code=DISK, driver="nvme")
    assert "class 010000 is no network function" in refused(capsys, tree, "bind", A)
    assert call(tree, "bind", A, "--force") == 0


def test_legacy_only(tree, capsys):
    tree.add(A, device=0x1000, config=configuration())
    assert "legacy-only" in refused(capsys, tree, "bind", A)


def test_vfio_pci_is_not_loaded(tree, capsys):
    tree.add(A)
    (tree.pci / "drivers" / "vfio-pci").rmdir()
    assert "modprobe vfio-pci" in refused(capsys, tree, "bind", A)


def test_a_bind_that_fails_is_undone(tree, capsys, kernel):
    tree.add(A).add(B, group="8")
    kernel.refuses = (B,)
    assert "vfio-pci did not take it" in refused(capsys, tree, "bind", A, B)
    assert tree.override(A) == tree.override(B) == ""


@pytest.mark.parametrize("error, words", [(13, "only root may"), (19, "No such device"), (16, "busy")])
@pytest.mark.parametrize("where", ["driver_override", "unbind", "drivers_probe"])
def test_writes_that_fail(tree, capsys, kernel, where, error, words):
    tree.add(A)
    kernel.fails = {where: error}
    assert call(tree, "bind", A) == 1
    told = capsys.readouterr().err
    assert words in told and where in told and len(told.splitlines()) == 1


def test_unbind_what_is_not_ours(tree, capsys):
    tree.add(A)
    assert "its driver is virtio-pci, expected vfio-pci" in refused(capsys, tree, "unbind", A)


def test_unbind_what_is_held(tree):
    tree.add(A, driver="vfio-pci")
    device = Kernel(str(tree.root)).device(A)
    with pytest.raises(DevbindError, match=r"process 12 \(ringpassd\) has its group 7 open"):
        change.judge_unbind([device], False, holder_of=lambda group: (12, "ringpassd"))
    change.judge_unbind([device], True, holder_of=lambda group: (12, "ringpassd"))


def test_who_holds_a_group(tmp_path):
    held = tmp_path / "dev" / "vfio" / "7"
    held.parent.mkdir(parents=True)
    held.write_text("")
    assert inuse.holder_of("7", dev=str(tmp_path / "dev")) is None
    with open(held, encoding="ascii"):
        pid, name = inuse.holder_of("7", dev=str(tmp_path / "dev"))
    assert pid == os.getpid() and name


def test_unbind_that_does_not_help(tree, capsys):
    """The function's ids were given to vfio-pci."""
    tree.add(A, driver="vfio-pci")
    (tree.pci / "drivers" / "virtio-pci").rmdir()
    (tree.pci / "drivers" / "virtio-pci").symlink_to("vfio-pci")
    with pytest.raises(DevbindError, match="remove_id"):
        class Taken(Kernel):
            def driver(self, address):
                return "vfio-pci" if super().driver(address) else None
        taken = Taken(str(tree.root))
        change.unbind(taken, taken.device(A))


@pytest.mark.parametrize("arguments, words", [
    (["bind", "0000:00:1f.0"], "no such PCI function"), (["bind", "eth9"], "no PCI address"),
    (["show", "../../etc"], "no PCI address"), (["unbind", "00:04"], "no PCI address"),
])
def test_functions_that_are_not_there(tree, capsys, arguments, words):
    tree.add(A)
    assert words in refused(capsys, tree, *arguments)


def test_a_tree_that_is_damaged(tree, tmp_path, capsys):
    tree.add(A)
    (tree.pci / "devices" / A / "vendor").write_text("hello\n")
    assert "vendor cannot be read" in refused(capsys, tree, "show")
    assert cli.main(["--sysfs", str(tmp_path / "none"), "show"]) == 1
    assert "is there a PCI bus?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["bind"], ["unbind"], ["show", "--no-such"], ["no-such"]])
def test_bad_arguments(arguments):
    done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "--help" in done.stderr
