# SPDX-License-Identifier: BSD-3-Clause
"""Who may die or hang, when, and who serves the queues then: the table of doc/guides/software-backend.md.

The port's wish is "auto", its accelerator is of class A, its software backend testpmd. test_kill_matrix.py goes
through all cells; so does whoever changes one.
"""

VICTIMS = ("frontend", "software backend", "accelerator", "ringpassd")
WAYS = ("killed", "hung")
MOMENTS = ("idle", "traffic", "during a move", "during migration", "during memory hotplug")

# Who serves the queues until the victim is started anew, or goes on:
HARDWARE = "hardware"  # and answers
SOFTWARE = "software"  # and answers
SHADOW = "shadow"  # and answers: hardware on private rings, which ringpassd carries over, and logs
NOBODY = "nobody"  # the rings wait, and ringpass-ctl says why
STALLS = "the hung one"  # still its rings: nobody else may touch them, and they wait
SILENT = "as before"  # ringpassd stands still, and is not in the path: who served them still does

MEANWHILE = {
    ("frontend", "killed"): (NOBODY, NOBODY, NOBODY, NOBODY, NOBODY),
    ("frontend", "hung"): (HARDWARE, HARDWARE, SOFTWARE, SOFTWARE, HARDWARE),
    ("software backend", "killed"): (HARDWARE, HARDWARE, HARDWARE, SHADOW, HARDWARE),
    ("software backend", "hung"): (HARDWARE, HARDWARE, NOBODY, STALLS, HARDWARE),
    ("accelerator", "killed"): (SOFTWARE, SOFTWARE, SOFTWARE, SOFTWARE, SOFTWARE),
    ("accelerator", "hung"): (STALLS, STALLS, STALLS, SOFTWARE, STALLS),
    ("ringpassd", "killed"): (NOBODY, NOBODY, NOBODY, NOBODY, NOBODY),
    ("ringpassd", "hung"): (SILENT, SILENT, SILENT, SILENT, SILENT),
}

# And when it is back: hardware again, but for a migration, which still goes on unless it ended with the victim.
AFTER_MIGRATION = {
    ("software backend", "killed"): SHADOW,  # it serves as well as the one that came back
    ("frontend", "killed"): HARDWARE,
    ("ringpassd", "killed"): HARDWARE,
}


def meanwhile(victim, way, moment):
    return MEANWHILE[victim, way][MOMENTS.index(moment)]


def afterwards(victim, way, moment):
    return AFTER_MIGRATION.get((victim, way), SOFTWARE) if moment == "during migration" else HARDWARE


def table():
    """@return the lines of the guide's table."""
    lines = ["| who | what | " + " | ".join(MOMENTS) + " |", "|---|---|" + "---|" * len(MOMENTS)]
    for (victim, way), cells in MEANWHILE.items():
        lines.append(f"| {victim} | {way} | " + " | ".join(cells) + " |")
    return lines
