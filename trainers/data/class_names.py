"""classes.txt: the names and the order of the classes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainers.data.labels import Names
from trainers.data.text_files import read_text

_NUMBER_FIRST = re.compile(r"(\d{1,9})[\s,;:]+(.+)")
_NUMBER_LAST = re.compile(r"(.+?)[\s,;:]+(\d{1,9})")


@dataclass(frozen=True)
class ClassNames:
    """The lines of classes.txt; None without one."""

    names: tuple[str, ...] | None
    notes: tuple[str, ...] = ()

    @property
    def by_number(self) -> dict[int, str] | None:
        """Names by the number in their line, if each line has one: `3 cat` or `cat 3`."""
        for pattern, number, name in ((_NUMBER_FIRST, 1, 2), (_NUMBER_LAST, 2, 1)):
            found = [pattern.fullmatch(line) for line in self.names or ()]
            numbered = {int(match[number]): match[name] for match in found if match}
            if found and len(numbered) == len(found) == len(set(numbered.values())):
                return numbered
        return None

    def for_labels(self, labels: Iterable[str]) -> Names | None:
        """The names that fit such labels: by the numbers in the lines, without them, or the whole lines."""
        used, numbered = set(labels), self.by_number
        if numbered and used <= {str(number) for number in numbered}:
            return numbered
        if numbered and not used <= set(self.names or ()) and used <= set(numbered.values()):
            return [numbered[number] for number in sorted(numbered)]
        return self.names


def class_file(folder: Path) -> ClassNames:
    """Reads `classes.txt` in a folder, in any encoding that a list may have. Raises DataError."""
    path = folder / "classes.txt"
    if not path.is_file():
        return ClassNames(None)
    text = read_text(path)
    names = tuple(line.strip() for line in text.lines if line.strip())
    return ClassNames(names or None, text.notes)
