# SPDX-License-Identifier: BSD-3-Clause
"""The rows that comparisons rely on, and what each should reach on two CPUs that are near to each other."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Target:
    bench: str
    what: str
    at_most: float | None = None
    at_least: float | None = None
    value: bool = False  # the target is of the value; else of the ratio
    pairs: int = 8  # fewer are indicative only

    def words(self):
        if self.at_most is None and self.at_least is None:
            return "reported"
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"

    def reached(self, row):
        """@return None: there is nothing to reach, or nothing was measured."""
        figure = row["value"] if self.value else row["ratio"]
        if figure is None or (self.at_most is None and self.at_least is None):
            return None
        return figure <= self.at_most if self.at_most is not None else figure >= self.at_least


TARGETS = (
    Target("doorbell_p50", "guest's store seen by an idle device, median", at_most=0.05),
    Target("doorbell_p99", "the same, 99th percentile", at_most=0.05),
    Target("doorbell_256_p50", "one of 256 doorbells, median", at_most=0.05),
    Target("interrupt_p50", "device to a guest that sleeps, median", at_most=0.85),
    Target("pps_split_64", "same work, split ring, 64 bytes", at_least=1.3),
    Target("pps_split_1518", "same work, split ring, 1518 bytes", at_least=1.1),
    Target("pps_packed_64", "same work, packed ring, 64 bytes", at_least=1.0),
    Target("pps_packed_1518", "same work, packed ring, 1518 bytes", at_least=1.0),
    Target("pps_switch_split_64", "guest to guest, split ring, 64 bytes", at_least=1.5),
    Target("pps_switch_split_1518", "guest to guest, split ring, 1518 bytes", at_least=1.6),
    Target("pps_switch_packed_64", "guest to guest, packed ring, 64 bytes", at_least=1.1),
    Target("pps_switch_packed_1518", "guest to guest, packed ring, 1518 bytes", at_least=1.5),
    Target("pps_parity_split_64", "queue by queue against passed whole, split", at_least=0.99, pairs=21),
    Target("pps_parity_packed_64", "queue by queue against passed whole, packed", at_least=0.99, pairs=21),
    Target("host_cpu_direct_ms_per_mpkt", "processor time of the host per million packets", at_most=1.0, value=True),
    Target("setup_1_pair", "first reply to first packet, one pair", at_most=1.0),
    Target("setup_128_pairs", "first reply to first packet, 128 pairs", at_most=0.5),
    Target("port_kib", "memory of a port, at 1,000 ports", at_most=64, value=True),
    Target("daemon_rss_mib", "ringpassd at rest", at_most=10, value=True),
    Target("move_blackout_p50_us", "blackout of a queue's move, median", at_most=200, value=True),
    Target("move_blackout_p99_us", "the same, 99th percentile", at_most=2000, value=True),
    Target("move_accelerators_p50_us", "the same between two accelerators, median", at_most=50, value=True),
    Target("vfu_region_rtt", "a register by message, device asleep"),
    Target("vfu_region_rtt_polled", "a register by message, device spinning"),
    Target("vfu_dma_read_4k", "DMA by message, 4 KiB read"),
    Target("vfu_dma_read_1m", "DMA by message, 1 MiB read"),
    Target("vfu_dma_write_1m", "DMA by message, 1 MiB written"),
    Target("translate_1m", "an address translated, a million mappings", at_most=2.0),
    Target("interposed_pps", "packets of a software queue behind a port", at_least=0.995, pairs=21),  # 1.00
)
REQUIRED = frozenset(target.bench for target in TARGETS)
BY_BENCH = {target.bench: target for target in TARGETS}
