"""The tables that the GPU campaign prints: what was run, figures of speed, then the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_campaign_pieces import PIECES
from benchmarks.paper_lines import Line
from benchmarks.paper_summary import summary, table

VERDICT = {True: "met", False: "missed", None: ""}


def tables(lines: Sequence[Line], key: str) -> str:
    """Markdown of all lines: the paper's tables, then the pieces and figures of the card `key`."""
    mine = [line for line in lines if line["key"] == key]
    runs = table(["piece", "s", "ended", "last line", "code", "date"], _runs(mine))
    speed = table(["figure", "", "unit", "target", "", "of recorded", "way", "peak", "n"], _figures(mine))
    paper = summary(line for line in lines if not line["piece"].startswith("gpu_"))
    return "\n\n".join([paper, f"On {key}:", runs, speed])


def last_line(path: Path) -> str:
    """What a process said last."""
    said = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return said[-1].strip()[:300] if said else "it said nothing"


def _runs(lines: Iterable[Line]) -> Iterator[list[str]]:
    """One row for each piece that has a line."""
    digests = {f"gpu_{piece.name}": piece.digest for piece in PIECES}
    for line in lines:
        ended = "failed" if "failed" in line else "cut" if "cut" in line else "yes"
        code = "as it is" if digests.get(line["piece"]) == line["digest"] else "older"
        said = line.get("failed", line["said"])
        yield [line["piece"].removeprefix("gpu_"), str(line["seconds"]), ended, said, code, line["date"]]


def _figures(lines: Iterable[Line]) -> Iterator[list[str]]:
    for line in lines:
        for record in line.get("records", ()):
            target = "" if record["target"] is None else f"{record['target']:.3g}"
            yield [
                record["name"], f"{record['figure']:.4g}", record["unit"], target, VERDICT[record["met"]],
                _fixed(record, "of_recorded"), str(record.get("used", record.get("way", ""))),
                _fixed(record, "share_of_measured_peak"), str(record["n"]),
            ]  # fmt: skip


def _fixed(record: Mapping[str, Any], name: str) -> str:
    return f"{record[name]:.2f}" if name in record else ""
