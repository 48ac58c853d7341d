"""The reader of best.yaml: reports every mistake with its place, and constructs plain values only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search_spaces.document import MAX_BYTES, Node, decode_text, parse
from search_spaces.problems import Problem, SpaceError, did_you_mean, printable, shown
from search_spaces.schema import Stage1, Stage2, Task
from studies.export.data_path import located
from trainers.config import SETTINGS, Scalar, checked, mistake_in

KIND = "tuner/config"
FORMAT_VERSION = 1
BLOCKS: dict[str, frozenset[str]] = {
    "task": frozenset(Task.model_fields),
    "stage1": frozenset(Stage1.model_fields),
    "stage2": frozenset(Stage2.model_fields),
}
_MAPPINGS = ("selected_by", "over_seeds", "dataset", "hardware", "code", "versions", "expect")  # of provenance
_KEYS = ("kind", "version", *BLOCKS, "expect", "provenance")


class ExportError(Exception):
    """A configuration cannot be exported, or an export cannot be used."""


class ExportFileError(ExportError):
    """An exported file cannot be read; one line per problem, each with its place."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A measured value and its tolerance; None: shown, not checked."""

    value: float
    tolerance: float | None = None


@dataclass(frozen=True, kw_only=True)
class ExportedConfig:
    """The contents of a best.yaml. `config` has dotted names; `places` has the place of each in the file."""

    config: Mapping[str, Scalar]
    expect: Mapping[str, Expectation]
    provenance: Mapping[str, Any]
    places: Mapping[str, str]


def load_config(path: Path) -> ExportedConfig:
    """Reads a best.yaml; a relative `task.data` is looked for beside it, then in the current folder.

    Raises ExportFileError with every problem as `file:line:column: error: key: what, way out`."""
    try:
        with path.open("rb") as file:
            text = decode_text(file.read(4 * MAX_BYTES + 1), file=str(path))  # a longer file is refused
        root, problems = parse(text, file=str(path))
    except OSError as error:
        raise ExportFileError(
            f"{printable(str(path))}: error: cannot be read ({error.strerror}); give the path of an exported "
            "configuration"
        ) from error
    except SpaceError as error:
        raise ExportFileError(str(error)) from error
    reader = _ExportReader(problems)
    found = reader.read(root)
    if reader.problems:
        raise ExportFileError("\n".join(str(problem) for problem in sorted(reader.problems, key=_line_and_column)))
    data = found.config.get("task.data")
    if isinstance(data, str):
        return replace(found, config={**found.config, "task.data": located(data, folder=path.parent)})
    return found


def _line_and_column(problem: Problem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0


class _ExportReader:
    """Collects the problems of one document."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.places: dict[str, str] = {}

    def read(self, root: Node) -> ExportedConfig:
        if not isinstance(root.value, dict):
            self._problem(root, "", "must be a mapping as `tuner export` writes it")
            return ExportedConfig(config={}, expect={}, provenance={}, places={})
        self._header(root)
        for key, entry in root.value.items():
            if key not in _KEYS:
                near = did_you_mean(key, _KEYS)
                message = "unknown key" + (near or f"; there are {', '.join(_KEYS)}")
                self.problems.append(entry.mark.problem(key, message))
        config = {f"{part}.{name}": value for part in BLOCKS for name, value in self._block(root, part).items()}
        expect, provenance = self._expect(root), self._provenance(root)
        return ExportedConfig(config=config, expect=expect, provenance=provenance, places=self.places)

    def _header(self, root: Node) -> None:
        for key, wanted, way_out in (
            ("kind", KIND, "a search space goes to `tuner launch --space`"),
            ("version", FORMAT_VERSION, "export it again with this release, or read it with the one that wrote it"),
        ):
            node = root.child(key)
            if node is None:
                self._problem(root, key, f"is missing; write `{key}: {wanted}`")
            elif node.value != wanted or isinstance(node.value, bool):
                self._problem(node, key, f"must be {wanted}, but got {shown(node.plain())}; {way_out}")

    def _block(self, root: Node, part: str) -> dict[str, Scalar]:
        node = root.child(part)
        if node is None or not isinstance(node.value, dict):
            got = "is missing" if node is None else f"must be a mapping, but got {shown(node.plain())}"
            self._problem(node or root, part, f"{got}; an exported configuration has task, stage1 and stage2")
            return {}
        values: dict[str, Scalar] = {}
        for name, entry in node.value.items():
            key, value = f"{part}.{name}", self._flat(f"{part}.{name}", entry.node)
            if name not in BLOCKS[part]:
                self.problems.append(entry.mark.problem(key, f"unknown key{did_you_mean(name, sorted(BLOCKS[part]))}"))
            elif isinstance(value, dict | list):
                message = f"must be one value, but got {shown(entry.node.plain())}; ranges belong into a search space"
                self._problem(entry.node, key, message)
            elif isinstance(value, float) and not math.isfinite(value):
                self._problem(entry.node, key, f"must be finite, but got {value}")
            else:
                values[name] = value
                mark = entry.node.mark
                self.places[key] = f"{printable(mark.file)}:{mark.line}:{mark.column}"
        return values

    def _flat(self, key: str, node: Node) -> Any:
        """The value in the flat configuration; a mapping or a list that the setting cannot be is left as it is."""
        if key not in SETTINGS or SETTINGS[key].kind not in (dict, list):
            return node.value
        return node.value if mistake_in(SETTINGS[key], node.plain()) else checked(key, node.plain())

    def _provenance(self, root: Node) -> dict[str, Any]:
        node = root.child("provenance")
        if node is None:
            return {}
        for key, found in [("provenance", node), *((f"provenance.{name}", node.child(name)) for name in _MAPPINGS)]:
            if found is not None and not isinstance(found.value, dict):
                self._problem(found, key, f"must be a mapping, but got {shown(found.plain())}; export the trial again")
        plain = node.plain()
        return plain if isinstance(plain, dict) else {}

    def _expect(self, root: Node) -> dict[str, Expectation]:
        node = root.child("expect")
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self._problem(
                node, "expect", f"must be a mapping of metrics, but got {shown(node.plain())}; leave it out or mend it"
            )
            return {}
        found: dict[str, Expectation] = {}
        for name, entry in node.value.items():
            expectation = _expectation(entry.node.plain())
            if expectation is None:
                message = (
                    "must be {value: number, tolerance: number or null}" + f", but got {entry.node.plain()!r}"[:80]
                )
                self._problem(entry.node, f"expect.{name}", message)
            else:
                found[name] = expectation
        return found

    def _problem(self, node: Node, key: str, message: str) -> None:
        self.problems.append(node.mark.problem(key, message))


def _expectation(plain: object) -> Expectation | None:
    """The value and tolerance; None if malformed."""
    if not isinstance(plain, dict) or "value" not in plain or set(plain) - {"value", "tolerance"}:
        return None
    value, tolerance = plain["value"], plain.get("tolerance")
    if not _is_number(value) or not (tolerance is None or (_is_number(tolerance) and tolerance >= 0)):
        return None
    return Expectation(value=float(value), tolerance=None if tolerance is None else float(tolerance))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
