# SPDX-License-Identifier: BSD-3-Clause
"""ringpass-ctl against a server that answers what the test says, and against a real ringpassd without ports."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
TOOL = str(TOP / "usertools" / "ringpass-ctl")
DAEMON = pathlib.Path(os.environ.get("RINGPASS_BUILD_DIR", TOP / "build")) / "app" / "ringpassd" / "ringpassd"
LIMIT_S = 60


def queue(number, **changes):
    return {"queue": number, "direction": ("rx", "tx")[number % 2], "mode": "direct", "doorbell": "mapped",
            "doorbell_policy": "auto", "reason": "", "user_enabled": True, "frontend_enabled": True,
            "frontend_started": True, "node": None, "accelerator": 0, "accelerator_queue": number, "direct_kicks": 1000 + number,
            "eventfd_kicks": 3, "relayed_kicks": 2, "relayed_kicks_after_map": 0, "device_interrupts": 44,
            "relayed_interrupts": 0, "moves": 1, "doorbell_maps": 1, "packets": 5, "bytes": 6, "errors": 0,
            "counters_valid": True, "ring_policy": "auto", "redone": 0, "lost": 0, "accesses_refused": 0, "vfio_file": "none",
            "owner": "hardware", "wish": "auto", "wish_reason": "", "since_ms": 12345, "moves_to_hardware": 0,
            "moves_to_software": 0, "moves_between_accelerators": 0, "blackouts": 0, "blackout_min_us": None, "blackout_median_us": None,
            "blackout_max_us": None, **changes}


SUMMARY = {"port": "vm0", "socket": "/run/vm0.sock", "mode": "server", "profile": "standard", "state": "connected",
           "reason": "", "frontend_pid": 4242, "accelerators": 1, "queues": 4, "queues_direct": 3,
           "queues_relayed": 1, "queues_stopped": 0, "queues_shadow": 0, "queues_software": 0}
PORT = {**{key: SUMMARY[key] for key in ("port", "socket", "mode", "profile", "state", "reason", "frontend_pid")},
        "features_offered": "0x130000000", "features_acked": "0x100000000", "protocol_features": "0x802",
        "memory_bytes": 1 << 30, "regions": 2, "thread_node": None, "iommu": None, "software": None,
        "accelerators": [
            {"arguments": "vfio-user,socket=/f0", "open": True, "reason": "", "driver": "virtio",
             "transport": "vfio-user", "device": "/f0", "class": "A", "queues": 4, "notify_by_address": True,
             "link": "up", "mac": "52:54:00:01:02:03", "promiscuous": True, "all_multicast": True, "receiving_pairs": 2,
             "net_reason": "MAC: no control queue"},
            {"arguments": "vfio-user,socket=/f1", "open": False, "reason": "/f1: connect: Connection refused"}],
        "queues": [queue(0, vfio_file="held", redone=7), queue(1), queue(2, mode="relayed", doorbell="unmapped",
                                             reason="the frontend refused the doorbell")],
        "windows": []}
EVENTS = [{"level": "notice", "port": "vm0", "queue": 1, "event": "doorbell-mapped", "text": "the guest rings"},
          {"level": "warning", "port": None, "queue": None, "event": "rpc-client-dropped", "text": "too slow"}]


def refusal(code, message, name):
    return {"error": {"code": code, "message": message, "data": {"errno": name}}}


class Server:
    """Answers each method with what the test put into `answers`: a result, a refusal, bytes, or a function."""

    def __init__(self, path):
        self.path = str(path)
        self.answers = {}
        self.requests = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client, client.makefile("rwb") as stream, contextlib.suppress(OSError):
                self.serve_client(stream)

    def serve_client(self, stream):
        for line in stream:
            request = json.loads(line)
            self.requests.append((request["method"], request["params"]))
            answer = self.answers[request["method"]]
            if callable(answer):
                answer = answer(request["params"])
            if answer is None:
                return
            if isinstance(answer, bytes):
                stream.write(answer)
            else:
                body = answer if "error" in answer else {"result": answer}
                stream.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **body}).encode() + b"\n")
                if request["method"] == "watch":
                    for event in EVENTS:
                        stream.write(json.dumps({"jsonrpc": "2.0", "method": "event", "params": event}).encode()
                                     + b"\n")
            stream.flush()

    def close(self):
        # shutdown wakes the accept that close alone would leave waiting
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(LIMIT_S)


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path / "rpc.sock")
    yield one
    one.close()


def run(path, *arguments, environment=None):
    command = [TOOL, *(["--rpc", str(path)] if path else []), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {})})


def assert_fails(result, status, *parts):
    assert result.returncode == status, result
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("ringpass-ctl"), result.stderr
    for part in parts:
        assert part in result.stderr


def test_list_is_a_table(server):
    server.answers["port.list"] = {"ports": [SUMMARY, {**SUMMARY, "port": "a-much-longer-name", "state": "waiting",
                                                       "queues": 0, "reason": "no such socket"}]}
    result = run(server.path, "list")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout == (
        "PORT                STATE      QUEUES  DIRECT  RELAYED  SHADOW  SOFTWARE  STOPPED  SOCKET         REASON\n"
        "vm0                 connected       4       3        1       0         0        0  /run/vm0.sock  -\n"
        "a-much-longer-name  waiting         0       3        1       0         0        0  /run/vm0.sock  "
        "no such socket\n")
    assert server.requests == [("port.list", {})]


def test_list_without_ports(server):
    server.answers["port.list"] = {"ports": []}
    assert run(server.path, "list").stdout == "PORT  STATE  QUEUES  DIRECT  RELAYED  SHADOW  SOFTWARE  " \
        "STOPPED  SOCKET  REASON\n"


@pytest.mark.parametrize("arguments", [("--json", "show", "vm0"), ("show", "--json", "vm0"), ("show", "vm0", "--json")])
def test_json_before_and_after_the_command(server, arguments):
    server.answers["port.show"] = PORT
    assert json.loads(run(server.path, *arguments).stdout) == PORT


def test_show(server):
    server.answers["port.show"] = PORT
    lines = run(server.path, "show", "vm0").stdout.splitlines()
    assert lines[:10] == [
        "port vm0: connected to pid 4242",
        "  socket    /run/vm0.sock (server, profile standard)",
        "  features  offered 0x130000000, acked 0x100000000, protocol 0x802",
        "  memory    1024 MiB in 2 regions",
        "  accelerator 0: vfio-user,socket=/f0",
        "    virtio over vfio-user, /f0, class A, 4 queues, doorbells decoded by address",
        "    link up; receives in 2 pairs: 52:54:00:01:02:03, whatever the address, all groups",
        "    refused: MAC: no control queue",
        "  accelerator 1: vfio-user,socket=/f1",
        "    not open: /f1: connect: Connection refused"]
    assert lines[11].split() == ["QUEUE", "DIR", "MODE", "RING", "DOORBELL", "VFIO", "ACCEL", "KICKS-DIRECT",
                                 "KICKS-RELAYED", "AFTER-MAP", "IRQS-DEVICE", "IRQS-RELAYED", "MOVES", "REDONE", "LOST",
                                 "PACKETS", "ERRORS", "REASON"]
    assert lines[12].split() == ["0", "rx", "direct", "auto", "mapped", "held", "0:0", "1000", "2", "0", "44", "0", "1",
                                 "7", "0", "5", "0", "-"]
    assert lines[14].endswith("the frontend refused the doorbell")
    assert len(lines) == 15


def test_show_numa_nodes(server):
    placed = {**PORT, "thread_node": 1, "queues": [queue(0, node=1), queue(1, node=1), queue(2, node=0), queue(3)]}
    server.answers["port.show"] = placed
    assert run(server.path, "show", "vm0").stdout.splitlines()[4] == "  nodes     rings on 0 (1), 1 (2); ringpassd on 1"
    server.answers["port.show"] = {**placed, "thread_node": None}
    assert run(server.path, "show", "vm0").stdout.splitlines()[4] == "  nodes     rings on 0 (1), 1 (2); ringpassd on any"
    # Nobody is connected, and the user wants it there.
    server.answers["port.show"] = {**placed, "queues": []}
    assert run(server.path, "show", "vm0").stdout.splitlines()[4] == (
        "  nodes     rings on none that is known; ringpassd on 1")


def test_show_with_windows(server):
    window = {"window": 0, "of": 1, "bar": 4, "to": 0, "iova": "0x3800000000", "offset": 0, "size": 8192,
              "state": "mapped", "cause": "", "reason": ""}
    server.answers["port.show"] = {**PORT, "windows": [window, {**window, "iova": "0x3800002000", "state": "left-out",
                                                                "cause": "interrupts", "reason": "a table"}]}
    lines = run(server.path, "show", "vm0").stdout.splitlines()
    assert lines[10:12] == ["  window 0  BAR 4 of 1 for 0, 0x3800000000 + 0x2000: mapped",
                            "  window 0  BAR 4 of 1 for 0, 0x3800002000 + 0x2000: left-out: a table"]


def test_show_an_iommu(server):
    iommu = {"negotiated": True, "translations": 4, "updates": 10, "invalidations": 6, "misses": 11, "misses_refused": 1,
             "rings_stopped": 2, "device_translations": 0, "device_page_requests": 0, "device_pages": 0,
             "device_invalidations": 0}
    server.answers["port.show"] = {**PORT, "iommu": iommu, "queues": [queue(0, accesses_refused=1), queue(1, accesses_refused=2)]}
    lines = run(server.path, "show", "vm0").stdout.splitlines()
    assert lines[4:6] == [
        "  iommu     the guest's addresses are translated",
        "    4 translations; told 10, taken back 6, asked for 11, of these refused 1; accesses refused 3; rings stopped 2"]
    server.answers["port.show"] = {**PORT, "iommu": {**iommu, "device_translations": 30, "device_page_requests": 8,
                                                     "device_pages": 7, "device_invalidations": 5}}
    assert run(server.path, "show", "vm0").stdout.splitlines()[6] == (
        "    devices asked for 30 translations and 8 pages; pages mapped 7; they were told of 5 invalidations")
    server.answers["port.show"] = {**PORT, "iommu": {**iommu, "negotiated": False}}
    assert run(server.path, "show", "vm0").stdout.splitlines()[4] == "  iommu     not negotiated by the guest"


SOFTWARE = {"socket": "/run/sw.sock", "mode": "client", "state": "usable", "reason": "", "kind": "librte_vhost",
            "pid": 77, "features": "0x140000000", "protocol_features": "0x9", "queues": 2, "connections": 1,
            "timeouts": 0}
MOVED = {"owner": "software", "mode": "software", "wish": "software", "since_ms": 350, "moves_to_software": 2,
         "moves_to_hardware": 1, "blackouts": 3, "blackout_min_us": 310, "blackout_median_us": 322,
         "blackout_max_us": 1500}


def test_show_with_a_software_backend(server):
    server.answers["port.show"] = {**PORT, "software": SOFTWARE, "queues": [
        queue(0, **MOVED), queue(1, wish="software", wish_reason="a migration is under way", since_ms=187000, redone=3)]}
    lines = run(server.path, "show", "vm0").stdout.splitlines()
    assert lines[4:6] == [
        "  software  usable to pid 77",
        "    /run/sw.sock (client), kind librte_vhost, serves 2 queues; connections 1, timeouts 0"]
    assert lines[17].split() == ["QUEUE", "DIR", "OWNER", "MODE", "SINCE", "WISH", "TO-HARDWARE", "TO-SOFTWARE",
                                 "BLACKOUT-MIN-US", "MEDIAN", "MAX", "REDONE", "REASON"]
    assert lines[18].split() == ["0", "rx", "software", "software", "350ms", "software", "1", "2", "310", "322", "1500",
                                 "0", "-"]
    assert lines[19].split(None, 12) == ["1", "tx", "hardware", "direct", "3m07s", "software", "0", "0", "-", "-", "-",
                                         "3", "a migration is under way"]


def test_show_says_why_the_software_backend_is_not_used(server):
    server.answers["port.show"] = {**PORT, "software": {**SOFTWARE, "state": "connecting", "pid": 0, "queues": 0,
                                                        "reason": "connect: Connection refused", "timeouts": 4}}
    output = run(server.path, "show", "vm0").stdout
    assert "  software  connecting: connect: Connection refused\n" in output
    assert "timeouts 4\n" in output


@pytest.mark.parametrize("since_ms, text", [(0, "0ms"), (999, "999ms"), (1000, "1.0s"), (59900, "59.9s"),
                                            (60000, "1m00s"), (3599000, "59m59s"), (3600000, "1h00m"),
                                            (86399000, "23h59m"), (86400000, "1d00h")])
def test_durations_are_short(server, since_ms, text):
    server.answers["queue.move"] = {"port": "vm0", "wish": "auto", "queues": [queue(0, since_ms=since_ms)]}
    assert run(server.path, "move", "vm0", "auto").stdout.splitlines()[1].split()[4] == text


@pytest.mark.parametrize("arguments, named", [
    ((), {}), (("--all",), {}), (("1",), {"queues": [1]}), (("3", "0"), {"queues": [3, 0]}),
    (("--pair", "1"), {"pairs": [1]}), (("--pair", "0", "--pair", "2"), {"pairs": [0, 2]})])
@pytest.mark.parametrize("wish", ["hardware", "software", "auto"])
def test_move(server, arguments, named, wish):
    answer = {"port": "vm0", "wish": wish, "queues": [queue(0, **MOVED), queue(1)]}
    server.answers["queue.move"] = answer
    result = run(server.path, "move", "vm0", *arguments, wish)
    assert result.returncode == 0, result
    assert server.requests == [("queue.move", {"port": "vm0", "wish": wish, **named})]
    assert result.stdout == (
        "QUEUE  DIR  OWNER     MODE      SINCE  WISH      TO-HARDWARE  TO-SOFTWARE  BLACKOUT-MIN-US  MEDIAN  MAX   "
        "REDONE  REASON\n"
        "    0  rx   software  software  350ms  software            1            2  310              322     1500  "
        "     0  -\n"
        "    1  tx   hardware  direct    12.3s  auto                0            0  -                -       -     "
        "     0  -\n")
    assert json.loads(run(server.path, "--json", "move", "vm0", *arguments, wish).stdout) == answer


def test_move_refused(server):
    server.answers["queue.move"] = refusal(-32000, "queue 1: the software backend is not there", "ENOTCONN")
    assert_fails(run(server.path, "move", "vm0", "software"), 1, "queue 1: the software backend is not there (ENOTCONN)")
    assert_fails(run(server.path, "move", "vm0", "--pair", "1", "--all", "software"), 2, "one of the three")
    assert_fails(run(server.path, "move", "vm0", "sideways"), 2, "invalid choice: 'sideways'")
    assert_fails(run(server.path, "move", "vm0"), 2, "wish")


@pytest.mark.parametrize("arguments, named", [((), {}), (("--all",), {}), (("2", "3"), {"queues": [2, 3]}),
                                              (("--pair", "1"), {"pairs": [1]})])
def test_transfer(server, arguments, named):
    answer = {"port": "vm0", "accelerator": 1, "queues": [
        queue(2, accelerator=1, accelerator_queue=0, mode="relayed", since_ms=20, moves_between_accelerators=3,
              blackout_min_us=90, blackout_median_us=120, blackout_max_us=300, reason="the doorbell is being taken back")]}
    server.answers["queue.transfer"] = answer
    result = run(server.path, "transfer", "vm0", *arguments, "--to", "1")
    assert result.returncode == 0, result
    assert server.requests == [("queue.transfer", {"port": "vm0", "accelerator": 1, **named})]
    assert result.stdout == (
        "QUEUE  DIR  ACCEL  MODE     SINCE  MOVED  BLACKOUT-MIN-US  MEDIAN  MAX  REASON\n"
        "    2  rx   1:0    relayed  20ms       3               90     120  300  the doorbell is being taken back\n")
    assert json.loads(run(server.path, "--json", "transfer", "vm0", *arguments, "--to", "1").stdout) == answer


def test_transfer_refused(server):
    server.answers["queue.transfer"] = refusal(-32000, "accelerator 1 has fewer than 2 queue pairs free", "ENOSPC")
    assert_fails(run(server.path, "transfer", "vm0", "--to", "1"), 1, "fewer than 2 queue pairs free (ENOSPC)")
    assert_fails(run(server.path, "transfer", "vm0", "--pair", "1", "--all", "--to", "1"), 2, "one of the three")
    assert_fails(run(server.path, "transfer", "vm0"), 2, "--to")


def test_show_says_when_counters_are_old(server):
    server.answers["port.show"] = {**PORT, "queues": [queue(0, counters_valid=False, accelerator=None)]}
    output = run(server.path, "show", "vm0").stdout
    assert "last known" in output.splitlines()[-1]


@pytest.mark.parametrize("arguments, queues", [(("1",), [1]), (("3", "0"), [3, 0]), (("--pair", "1"), [2, 3]),
                                               (("--pair", "0", "--pair", "1"), [0, 1, 2, 3]),
                                               (("--all",), [0, 1, 2])])
def test_queues_are_named_in_three_ways(server, arguments, queues):
    server.answers["port.show"] = PORT
    server.answers["queue.disable"] = lambda params: {"port": "vm0", **queue(params["queue"], mode="stopped")}
    result = run(server.path, "disable", "vm0", *arguments)
    assert result.returncode == 0, result
    asked = [params for method, params in server.requests if method == "queue.disable"]
    assert asked == [{"port": "vm0", "queue": number} for number in queues]
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [str(number) for number in queues]


def test_enable_and_mode(server):
    server.answers["queue.enable"] = server.answers["queue.doorbell"] = \
        lambda params: {"port": "vm0", **queue(params["queue"])}
    assert json.loads(run(server.path, "enable", "vm0", "1", "--json").stdout) == \
        {"port": "vm0", "queues": [{"port": "vm0", **queue(1)}]}
    assert run(server.path, "mode", "vm0", "0", "1", "relay").returncode == 0
    assert run(server.path, "mode", "vm0", "--pair", "1", "auto").returncode == 0
    assert server.requests[1:] == [("queue.doorbell", {"port": "vm0", "queue": number, "policy": policy})
                                   for number, policy in ((0, "relay"), (1, "relay"), (2, "auto"), (3, "auto"))]


def test_ring(server):
    server.answers["queue.ring"] = lambda params: {"port": "vm0", **queue(params["queue"], mode="shadow",
                                                                           ring_policy=params["policy"])}
    result = run(server.path, "ring", "vm0", "--pair", "0", "shadow")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["QUEUE", "DIR", "MODE", "DOORBELL", "POLICY", "RING", "REASON"],
        ["0", "rx", "shadow", "mapped", "auto", "shadow", "-"], ["1", "tx", "shadow", "mapped", "auto", "shadow", "-"]]
    assert server.requests == [("queue.ring", {"port": "vm0", "queue": number, "policy": "shadow"}) for number in (0, 1)]


def test_one_refused_queue_does_not_stop_the_others(server):
    server.answers["queue.disable"] = lambda params: (
        refusal(-32000, "no proof that it let go", "EIO") if params["queue"] == 0
        else {"port": "vm0", **queue(params["queue"])})
    result = run(server.path, "disable", "vm0", "--pair", "0")
    assert_fails(result, 1, "no proof that it let go (EIO)")
    assert len(server.requests) == 2
    assert result.stdout.splitlines()[1].split()[0] == "1"


def test_watch(server):
    server.answers["watch"] = {"level": "notice"}
    result = run(server.path, "watch", "--count", "2", "--level", "debug")
    assert result.returncode == 0
    first, second = result.stdout.splitlines()
    assert first.split(" ", 1)[1] == "notice port=vm0 queue=1 event=doorbell-mapped the guest rings"
    assert second.split(" ", 1)[1] == "warning event=rpc-client-dropped too slow"
    assert server.requests == [("watch", {"level": "debug"})]
    result = run(server.path, "--json", "watch", "--count", "2", "--port", "vm0")
    assert [json.loads(line) for line in result.stdout.splitlines()] == EVENTS
    assert server.requests[1] == ("watch", {"port": "vm0"})


def test_watch_until_interrupted(server):
    server.answers["watch"] = {"level": "notice"}
    # who runs the suite in the background may have told it, and so us, to ignore the signal
    with subprocess.Popen([TOOL, "--rpc", server.path, "watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        assert "doorbell-mapped" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
        assert process.stderr.read() == ""


def test_watch_ends_with_the_daemon(server):
    server.answers["watch"] = b""  # taken, never answered
    process = subprocess.Popen([TOOL, "--rpc", server.path, "watch"], stderr=subprocess.PIPE, text=True)
    with process:
        process.terminate()
        process.wait(LIMIT_S)
    server.answers["watch"] = lambda params: None  # hangs up
    assert_fails(run(server.path, "watch"), 1, "ringpassd closed the connection")


def test_add(server):
    server.answers["port.add"] = SUMMARY
    result = run(server.path, "add", "vm0", "socket=/run/vm0.sock", "queue_pairs=2", "relay_interrupts=true",
                 "accelerators=vfio-user,socket=/f0", "accelerator=vfio-user,socket=/f1", "doorbell=relay")
    assert result.returncode == 0, result
    assert server.requests == [("port.add", {
        "name": "vm0", "socket": "/run/vm0.sock", "queue_pairs": 2, "relay_interrupts": True, "doorbell": "relay",
        "accelerators": ["vfio-user,socket=/f0", "vfio-user,socket=/f1"]})]
    assert result.stdout.splitlines()[1].startswith("vm0 ")


def test_add_with_a_software_backend(server):
    server.answers["port.add"] = SUMMARY
    settings = {"socket": "/run/vm0.sock", "software": "/run/sw.sock", "software_mode": "server",
                "software_kind": "auto", "software_timeout_ms": 500, "software_reconnect_ms": 100, "drain_ms": 3,
                "wish": "software", "device": "net"}
    assert run(server.path, "add", "vm0", *(f"{key}={value}" for key, value in settings.items())).returncode == 0
    assert server.requests == [("port.add", {"name": "vm0", **settings})]


def test_what_add_cannot_read_is_left_to_the_daemon(server):
    server.answers["port.add"] = refusal(-32602, "queue_pairs: found 'two', expected a number", "EBADMSG")
    assert_fails(run(server.path, "add", "vm0", "queue_pairs=two", "colour=red"), 2, "queue_pairs: found 'two'")
    assert server.requests == [("port.add", {"name": "vm0", "queue_pairs": "two", "colour": "red"})]


def test_remove_and_version(server):
    server.answers["port.remove"] = {"port": "vm0"}
    server.answers["version"] = {"name": "ringpassd", "version": "0.1.0"}
    assert run(server.path, "remove", "vm0").stdout == ""
    assert run(server.path, "version").stdout == "ringpassd 0.1.0\n"
    assert server.requests[0] == ("port.remove", {"port": "vm0"})


def test_refusals_say_what_to_do(server):
    server.answers["port.show"] = refusal(-32000, "port: found 'vm9', which is no port", "ENOENT")
    assert_fails(run(server.path, "show", "vm9"), 1, "found 'vm9'", "(ENOENT)", "ringpass-ctl list")


def test_turned_away_by_a_full_daemon(server):
    server.answers["port.list"] = (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"too many clients, '
                                   b'the limit is 64","data":{"errno":"EBUSY"}}}\n')
    assert_fails(run(server.path, "list"), 1, "too many clients, the limit is 64 (EBUSY)")


@pytest.mark.parametrize("answer", [b"hello\n", b"[]\n", b"\xff\xfe\n", b"7\n", b"\n"])
def test_something_else_answers(server, answer):
    server.answers["port.list"] = answer
    assert_fails(run(server.path, "list"), 1, "is it ringpassd's RPC socket?")


@pytest.mark.parametrize("answer", [{}, {"ports": 7}, {"ports": [{}]}, {"ports": [7]}])
def test_answers_of_another_version(server, answer):
    server.answers["port.list"] = answer
    assert_fails(run(server.path, "list"), 1, "another version")


def test_nobody_listens(tmp_path):
    assert_fails(run(tmp_path / "none.sock", "list"), 1, "No such file or directory", "--rpc", "RINGPASS_RPC")
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(tmp_path / "dead.sock"))
    one.close()
    assert_fails(run(tmp_path / "dead.sock", "list"), 1, "Connection refused", "is ringpassd running?")


def test_where_the_socket_comes_from(server, tmp_path):
    server.answers["version"] = {"name": "ringpassd", "version": "7"}
    assert run(None, "version", environment={"RINGPASS_RPC": server.path}).returncode == 0
    # the option is stronger, also after the command
    assert run(None, "version", "--rpc", server.path,
               environment={"RINGPASS_RPC": str(tmp_path / "none.sock")}).returncode == 0


@pytest.mark.parametrize("arguments", [
    (), ("explode",), ("show",), ("enable", "vm0"), ("enable", "vm0", "x"), ("enable", "vm0", "-1"),
    ("enable", "vm0", "256"), ("enable", "vm0", "1", "--all"), ("enable", "vm0", "--pair", "0", "--all"),
    ("mode", "vm0", "0"), ("mode", "vm0", "0", "direct"), ("mode", "vm0", "auto"), ("ring", "vm0", "0", "relay"), ("add", "vm0"),
    ("add", "vm0", "socket"), ("add", "vm0", "=x"), ("add", "vm0", "socket=/a", "socket=/b"),
    ("watch", "--count", "x"), ("list", "--colour")])
def test_wrong_usage(tmp_path, arguments):
    assert_fails(run(tmp_path / "none.sock", *arguments), 2)


@pytest.fixture
def daemon(tmp_path):
    if not DAEMON.exists():
        pytest.skip("ringpassd is not built")
    path = tmp_path / "rpc.sock"
    process = subprocess.Popen([DAEMON, "--rpc", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process:
        assert process.stdout.readline() == "ringpassd: ready\n"
        yield path
        process.terminate()
        assert process.wait(LIMIT_S) == 0
    assert not path.exists()


def test_with_the_real_daemon(daemon, tmp_path):
    assert run(daemon, "version").stdout.startswith("ringpassd ")
    accelerator = f"accelerators=vfio-user,socket={tmp_path}/none.sock"
    result = run(daemon, "add", "vm0", f"socket={tmp_path}/vm0.sock", accelerator)
    assert result.returncode == 0, result
    (port,) = json.loads(run(daemon, "list", "--json").stdout)["ports"]
    assert port["state"] == "waiting" and "none.sock" in port["reason"]
    assert "not open" in run(daemon, "show", "vm0").stdout
    assert_fails(run(daemon, "enable", "vm0", "0"), 1, "waiting", "ENOTCONN")
    assert_fails(run(daemon, "add", "vm0", f"socket={tmp_path}/vm1.sock", accelerator), 1, "EEXIST")
    assert_fails(run(daemon, "add", "vm1", f"socket={tmp_path}/vm1.sock", "accelerators=nosuch"), 2, "nosuch")
    assert_fails(run(daemon, "add", "vm1", "colour=red"), 2, "colour")
    assert run(daemon, "remove", "vm0").returncode == 0
    assert json.loads(run(daemon, "--json", "list").stdout) == {"ports": []}


def test_a_software_backend_with_the_real_daemon(daemon, tmp_path):
    """It is not there: no frontend is served before it is known what it can, and everything says so."""
    backend = tmp_path / "backend.sock"
    result = run(daemon, "add", "vm0", f"socket={tmp_path}/vm0.sock", f"software={backend}")
    assert result.returncode == 0, result
    assert not (tmp_path / "vm0.sock").exists()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(backend))
        silent.listen()
        silent.settimeout(LIMIT_S)
        with silent.accept()[0]:
            shown = json.loads(run(daemon, "show", "vm0", "--json").stdout)
            assert shown["state"] == "waiting" and "software backend" in shown["reason"]
            assert shown["software"]["socket"] == str(backend) and shown["software"]["state"] != "usable"
            assert_fails(run(daemon, "move", "vm0", "software"), 1, "port vm0 is waiting", "ENOTCONN")
    assert_fails(run(daemon, "add", "vm1", f"socket={tmp_path}/vm1.sock", f"software={tmp_path}/vm0.sock"), 1, "EEXIST")
    assert_fails(run(daemon, "add", "vm1", f"socket={tmp_path}/vm1.sock", "wish=software"), 2, "accelerators")
    assert run(daemon, "remove", "vm0").returncode == 0
