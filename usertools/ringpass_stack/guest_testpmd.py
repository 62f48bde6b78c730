# SPDX-License-Identifier: BSD-3-Clause
"""testpmd inside a guest, on the guest's virtio-net cards, by DPDK's own virtio driver."""

import re

from ringpass_testvm.errors import TestvmError

from .testpmd import MARK, MARK_COMMAND, PROGRAM

# What testpmd loads by itself: the driver of the cards, and how its packet buffers are handed out.
DRIVERS = tuple(f"/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_{name}.so" for name in ("net_virtio", "mempool_ring"))
# Or the answers arrive in blocks of 4096 bytes, long after the prompt: as stdbuf(1) does it.
LINES = "/usr/libexec/coreutils/libstdbuf.so"
# Of a machine for it. The cloud kernel has no VFIO without an IOMMU; nothing else in the guest drives the cards.
MODULE = "uio_pci_generic"
HUGE_PAGES, MEMORY_MIB = 64, 512
VIRTIO_NET = "1af4 1041"
MBUFS = 4096
START_SECONDS = 120
COMMAND_SECONDS = 60

PORT = re.compile(r"NIC statistics for port (\d+)")
COUNTER = re.compile(r"(RX-packets|TX-packets|Rx-pps): *(\d+)")


def machine_options():
    """Of prepare.machine()."""
    return {"modules": (MODULE,), "programs": (PROGRAM,), "libraries": (*DRIVERS, LINES), "memory_mib": MEMORY_MIB,
            "kernel_arguments": f"hugepages={HUGE_PAGES}"}


def parse_stats(text):
    """What "show port stats all" has printed, the last time if it did so often.
    @return {port: {counter: value}}; Rx-pps is since the time before."""
    ports, counters = {}, {}
    for line in text.splitlines():
        if title := PORT.search(line):
            counters = ports[int(title[1])] = {}
        for name, value in COUNTER.findall(line):
            counters[name] = int(value)
    return ports


class GuestTestpmd:
    """One thread for commands, one that forwards, each on a processor of the guest."""

    def __init__(self, vm, peer_macs, arguments=()):
        """peer_macs: where to the packets of each card go, in the order of cards. arguments: more for testpmd."""
        self._vm = vm
        self._peers = peer_macs
        self._arguments = arguments

    def start(self):
        peers = " ".join(f"--eth-peer={index},{mac}" for index, mac in enumerate(self._peers))
        # DPDK takes no driver from below a directory that everybody may write to.
        self._vm.run("chmod 755 /\n"
                     f"echo {VIRTIO_NET} >/sys/bus/pci/drivers/{MODULE}/new_id\n"
                     "mkfifo /run/commands && sleep 1000000 >/run/commands &\n")
        self._vm.spawn(
            f"export RUNTIME_DIRECTORY=/run _STDBUF_O=L LD_PRELOAD={LINES}\n"
            f"exec {PROGRAM} -l 0,1 --no-telemetry --in-memory -- -i --total-num-mbufs={MBUFS} --nb-cores=1 {peers} "
            f"{' '.join(self._arguments)} </run/commands >>/run/testpmd.log 2>&1")
        self.command(timeout=START_SECONDS)

    def _ended(self):
        log = self._vm.run("cat /run/testpmd.log").output
        return TestvmError(f"{self._vm.name}: testpmd does not answer; it has said: {log[-1500:]}")

    def _talk(self, script, timeout):
        """script: writes commands to descriptor 3. @return what was answered, which a mark ends."""
        answer = self._vm.run(
            f": >/run/testpmd.log\nexec 3>/run/commands\n{script}\necho '{MARK_COMMAND}' >&3\n"
            f"n=0\nuntil grep -q '{MARK.strip()}' /run/testpmd.log || [ $n -gt {10 * timeout} ]; do\n"
            "usleep 100000; n=$((n + 1)); done\ncat /run/testpmd.log", timeout + COMMAND_SECONDS).output
        if MARK.strip() not in answer:
            raise self._ended()
        return answer.partition(MARK.strip())[0]

    def command(self, *texts, timeout=COMMAND_SECONDS):
        """@return what it has answered. A text may be a number: so many seconds until the next."""
        script = "\n".join(f"echo '{text}' >&3" if isinstance(text, str) else f"usleep {int(1e6 * text)}"
                           for text in texts)
        return self._talk(script, timeout)
