# SPDX-License-Identifier: BSD-3-Clause
"""A drawing for each scenario: ours beside the peer's, on a logarithmic scale. Plain SVG, nothing to install."""

import math
import os
from xml.sax.saxutils import escape

from .table import number, ratio

WIDTH = 900
LEFT = 280
BAR = 14
GAP = 18
TOP = 40
OURS, PEER = "#1f6f8b", "#c8a45c"
LABEL_WIDTH = 190


def _bars(row):
    yield OURS, row["value"], f"{number(row['value'])} {row['unit']}"
    if row["peer"] is not None:
        yield PEER, row["peer_value"], f"{number(row['peer_value'])} {row['unit']}: {row['peer']}"


def svg(title, rows):
    """@return the drawing of rows that were measured in one scenario."""
    figures = [value for row in rows for _, value, _ in _bars(row) if value and value > 0]
    low = math.floor(math.log10(min(figures))) if figures else 0
    high = max(math.ceil(math.log10(max(figures))), low + 1) if figures else 1
    scale = (WIDTH - LEFT - LABEL_WIDTH) / (high - low)
    parts, top = [f'<text x="10" y="24" font-size="16">{escape(title)}</text>'], TOP
    for row in rows:
        said = f", ratio {ratio(row['ratio'])}" if row["ratio"] is not None else ""
        parts.append(f'<text x="10" y="{top + BAR - 2}">{escape(row["bench"])}</text>'
                     f'<text x="10" y="{top + 2 * BAR}" fill="#666">{row["placement"]}{said}</text>')
        for colour, value, text in _bars(row):
            width = max(2.0, (math.log10(value) - low) * scale) if value and value > 0 else 2.0
            parts.append(f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
                         f'<text x="{LEFT + width + 5:.1f}" y="{top + BAR - 3}">{escape(text)}</text>')
            top += BAR + 2
        top += GAP if row["peer"] is not None else GAP + BAR
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" font-family="sans-serif" '
            f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n')


def write(rows, directory):
    """A file for each scenario. @return their paths."""
    groups = {}
    for row in rows:
        groups.setdefault(row["scenario"], []).append(row)
    paths = []
    for scenario, of_it in groups.items():
        path = os.path.join(directory, f"{scenario}.svg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(svg(scenario, of_it))
        paths.append(path)
    return paths
