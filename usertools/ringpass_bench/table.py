# SPDX-License-Identifier: BSD-3-Clause
"""Rows as text: for a terminal, and for the README."""

from .names import BY_BENCH, TARGETS, Target

# Of a row of packets: nearly none, and the generator was the bound, so that nothing is compared.
IDLE = "idle_polls_"
PLACEMENTS = ("near", "one", "host", "far", "mixed")


def number(value):
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4g}"


def ratio(value):
    return "" if value is None else f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 100 else f"{value:.0f}"


def verdict(row):
    """"reached", "not reached", "indicative": of too few pairs; or nothing: no target, or not where targets hold."""
    target = BY_BENCH.get(row["bench"])
    reached = target.reached(row) if target and row["placement"] not in ("far", "mixed") else None
    if reached is None:
        return ""
    # A value of whole programs is no pair.
    if row["runs"] < target.pairs and not (row["placement"] == "host" and row["peer"] is None):
        return "indicative"
    return "reached" if reached else "not reached"


def for_terminal(rows):
    head = ("bench", "placement", "ours", "peer", "unit", "ratio", "spread", "runs", "hop ns", "target", "", "peer is")
    body = [(row["bench"], row["placement"], number(row["value"]), number(row["peer_value"]), row["unit"],
             ratio(row["ratio"]), f"{row['spread'] or 0:.3f}", str(row["runs"]), number(row["hop_ns"]),
             BY_BENCH[row["bench"]].words() if row["bench"] in BY_BENCH else "", verdict(row), row["peer"] or "")
            for row in rows]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    right = {2, 3, 5, 6, 7, 8}
    for line in (head, *body):
        yield "  ".join(text.rjust(width) if column in right else text.ljust(width)
                        for column, (text, width) in enumerate(zip(line, widths))).rstrip()


def for_readme(facts, rows):
    """Markdown: the rows that comparisons rely on, in their order, near before far, each with its idle polls."""
    order = {target.bench: place for place, target in enumerate(TARGETS)}

    def rate(row):
        return row["bench"].replace(IDLE, "pps_", 1) if row["bench"].startswith(IDLE) else row["bench"]

    chosen = sorted((row for row in rows if rate(row) in order),
                    key=lambda row: (order[rate(row)], PLACEMENTS.index(row["placement"]), row["bench"] != rate(row)))
    yield (f"{facts.get('date', '')}, {facts.get('cpu', '')}, kernel {facts.get('kernel', '')}, gcc {facts.get('compiler', '')} "
           f"`{facts.get('flags', '')}`, load {facts.get('load', '')}{', quick' if facts.get('quick') else ''}:")
    yield ""
    yield "| | bench | ours | peer | ratio | target | placement | runs, spread | by |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in chosen:
        target = BY_BENCH.get(row["bench"], Target(row["bench"], "looks for packets that found none"))
        said = verdict(row)
        peer = f"{number(row['peer_value'])} {row['unit']}: {row['peer']}" if row["peer"] else ""
        yield (f"| {target.what} | `{row['bench']}` | {number(row['value'])} {row['unit']} | {peer} | {ratio(row['ratio'])} "
               f"| {target.words()}{': ' + said if said else ''} | {row['placement']} "
               f"| {row['runs']}, {row['spread'] or 0:.2f} | `make bench BENCH={row.get('scenario', '')}` |")
