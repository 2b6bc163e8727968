"""Tables of plain text, as wide as the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], heads: Sequence[str] = (), right: Sequence[int] = ()) -> str:
    """Rows in aligned columns, the last one wrapped to the terminal between words, so that paths stay whole; columns in
    `right` are aligned to the right.
    """
    every = [*([heads] if heads else []), *rows]
    if not every:
        return ""
    count = max(map(len, every))
    widths = [max((len(row[i]) for row in every if i < len(row)), default=0) for i in range(count - 1)]
    room = max(40, width() - sum(widths) - 2 * len(widths))
    lines: list[str] = []
    for row in every:
        cells = [
            row[i].rjust(size) if i in right and row is not heads else row[i].ljust(size)
            for i, size in enumerate(widths[: len(row)])
        ]
        whole = len(row) == count
        last = textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) if whole else []
        lead = "  ".join(cells) + ("  " if widths else "")
        lines.append((lead + (last[0] if last else "")).rstrip())
        lines += [" " * (sum(widths) + 2 * len(widths)) + more for more in last[1:]]
        if heads and row is heads:
            longest = min(room, max(len(each[-1]) for each in every if len(each) == count))
            lines.append("─" * (sum(widths) + 2 * len(widths) + longest))
    return "\n".join(lines)


def width() -> int:
    """Columns to write in: the terminal's, within what reads well."""
    return min(120, max(60, shutil.get_terminal_size((100, 24)).columns))
