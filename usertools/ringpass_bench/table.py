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


def said(row):
    """The verdict; of several runs in which it was not the same, in how many, and how many were of too few pairs."""
    verdicts = [verdict(one) for one in row.get("merged", [row])]
    if len(set(verdicts)) == 1:
        return verdicts[0]
    indicative = verdicts.count("indicative")
    return (f"reached in {verdicts.count('reached')} of {len(verdicts)} runs"
            f"{f', {indicative} of them indicative' if indicative else ''}")


def range_of(row, member, text):
    """What is in the middle, and of several runs the lowest and the highest."""
    there = [one[member] for one in row.get("merged", [row]) if one[member] is not None]
    if len(there) < 2:
        return text(row[member])
    return f"{text(row[member])} ({text(min(there))} to {text(max(there))})"


def interval(row, rows):
    """Where the median of all such ratios is with 95 per cent, if it was asked for."""
    there = {one["bench"]: one["value"] for one in rows if one["placement"] == row["placement"]}
    low, high = there.get(f"{row['bench']}_low"), there.get(f"{row['bench']}_high")
    return "" if low is None or high is None else f", in {ratio(low / 100)} to {ratio(high / 100)} with 95 %"


def for_readme(facts, rows, runs=1):
    """Markdown: the rows that comparisons rely on, in their order, near before far, each with its idle polls."""
    order = {target.bench: place for place, target in enumerate(TARGETS)}

    def rate(row):
        return row["bench"].replace(IDLE, "pps_", 1) if row["bench"].startswith(IDLE) else row["bench"]

    chosen = sorted((row for row in rows if rate(row) in order),
                    key=lambda row: (order[rate(row)], PLACEMENTS.index(row["placement"]), row["bench"] != rate(row)))
    several = f", {runs} runs: the middle one, and from the lowest to the highest" if runs > 1 else ""
    yield (f"{facts.get('date', '')}, {facts.get('cpu', '')}, kernel {facts.get('kernel', '')}, gcc {facts.get('compiler', '')} "
           f"`{facts.get('flags', '')}`, load {facts.get('load', '')}{', quick' if facts.get('quick') else ''}{several}:")
    yield ""
    yield f"| | bench | ours | peer | ratio | target | placement | {'runs: ' if runs > 1 else ''}pairs, spread | by |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in chosen:
        target = BY_BENCH.get(row["bench"], Target(row["bench"], "looks for packets that found none"))
        reached = said(row)
        ours = number(row["value"]) if row["peer"] else range_of(row, "value", number)
        peer = f"{number(row['peer_value'])} {row['unit']}: {row['peer']}" if row["peer"] else ""
        count = f"{len(row['merged'])}: " if "merged" in row else ""
        yield (f"| {target.what} | `{row['bench']}` | {ours} {row['unit']} | {peer} | {range_of(row, 'ratio', ratio)}{interval(row, rows)} "
               f"| {target.words()}{': ' + reached if reached else ''} | {row['placement']} "
               f"| {count}{row['runs']}, {row['spread'] or 0:.2f} | `make bench BENCH={row.get('scenario', '')}` |")
