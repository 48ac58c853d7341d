"""`lines.jsonl`: what the campaign has done, a line a piece, only ever appended to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NAME = "lines.jsonl"
Line = Mapping[str, Any]


class Lines:
    """The lines of a folder. Of a backbone and piece the last one counts, if it is of the backbone's own weights.

    A backbone that had to be trained again may come out otherwise (on a GPU it does): what was made of the old weights
    is then no longer its.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / NAME
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):  # cut short by a kill
            self._append("\n")
        self._lines = read_lines(folder)

    def add(self, line: dict[str, Any]) -> None:
        """Writes a line down."""
        self._append(json.dumps(line) + "\n")
        self._lines.append(line)

    def all(self) -> list[Line]:
        """The lines that count."""
        return current(self._lines)

    def find(self, key: str, piece: str, digest: str | None = None) -> Line | None:
        """The line of a piece; None when there is none, or one that asked for something else than `digest`."""
        for line in self.all():
            if (line["key"], line["piece"]) == (key, piece) and line.get("digest") == digest:
                return line
        return None

    def find_any(self, key: str, piece: str) -> Line | None:
        """The line of a piece, whatever it asked for."""
        return next((line for line in self.all() if (line["key"], line["piece"]) == (key, piece)), None)

    def _append(self, text: str) -> None:
        with self._path.open("a") as file:
            file.write(text)


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """All lines that are there, those that no longer count as well; one cut short by a kill is left out."""
    path, found = folder / NAME, list[dict[str, Any]]()
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            if text:
                print(f"{path}: a line was cut short; its piece is done again", file=sys.stderr)
    return found


def current(lines: Iterable[Line]) -> list[Line]:
    """Of each backbone and piece the last line, where it is of the weights that its last stage 1 has left."""
    last: dict[tuple[str, str], Line] = {}
    for line in lines:
        last.pop((line["key"], line["piece"]), None)
        last[line["key"], line["piece"]] = line
    weights = {key: line.get("weights") for (key, piece), line in last.items() if piece == "stage1"}
    return [line for line in last.values() if line.get("weights") == weights.get(line["key"])]
