# SPDX-License-Identifier: BSD-3-Clause
"""Several runs as one table: of each row the middle one, and how far apart the runs are."""

import statistics

MIDDLE = ("value", "peer_value", "ratio", "spread", "hop_ns")


def middle(rows, member):
    there = [row[member] for row in rows if row[member] is not None]
    return statistics.median(there) if there else None


def merge(runs):
    """@param runs lists of rows. @return rows; each has its rows of the runs as `merged`, fewer where a run had none."""
    found = {}
    for rows in runs:
        for row in rows:
            found.setdefault((row["bench"], row["placement"]), []).append(row)
    return [{**rows[0], **{member: middle(rows, member) for member in MIDDLE},
             "runs": min(row["runs"] for row in rows), "merged": rows} for rows in found.values()]


def facts_of(all_facts):
    """What all runs have in common, and all values of what they have not."""
    members = dict.fromkeys(member for facts in all_facts for member in facts)
    return {member: _one_or_all([facts[member] for facts in all_facts if member in facts]) for member in members}


def _one_or_all(values):
    different = list(dict.fromkeys(map(str, values)))
    return values[0] if len(different) == 1 else ", ".join(different)
