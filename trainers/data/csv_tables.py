"""CSV tables of images and labels, as published and as saved by spreadsheets."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainers.config import TaskConfig
from trainers.data.class_names import class_file
from trainers.data.groups import has_group_column, is_group_name, unused_group_notes
from trainers.data.image_files import is_image_name, is_junk_name
from trainers.data.listed_images import ListedImage, ListFile, listed_source
from trainers.data.pool import Source, SplitName, data_path
from trainers.data.split_words import split_of, splits_of
from trainers.data.table_columns import choose_column, chosen_note, missing_column, plain_name, told_columns
from trainers.data.text_files import read_text
from trainers.errors import DataError

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SUFFIXES = (".csv", ".tsv")
_IS = re.compile(r"^is[\W_]*", re.IGNORECASE)
_FOLDS = ("fold", "folds", "kfold", "fold_id", "cv_fold")
_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The cells of a file as text."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]  # line number and cells, as many as in the header
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """The columns that are read: of labels, or one for each class; and what must be told."""

    image: str
    label: str | None = None
    classes: tuple[str, ...] = ()
    split: str | None = None
    notes: tuple[str, ...] = ()


def read_csv(task: TaskConfig) -> Source:
    """Reads a CSV with header `path,label[,split]`, or a folder with train.csv[, val.csv][, test.csv].

    Other names of columns are taken if told (`task.columns`) or well known; one-hot columns, other separators and
    encodings are, too. Paths are relative to `task.image_root`, else to the file's folder. Raises DataError.
    """
    path = data_path(task)
    files, notes = _find_files(path)
    found, one_hot = list[ListFile](), None
    for file, split in files:
        listed, columns = _list_file(_read_table(file), split, task, alone=len(files) == 1)
        found += listed
        one_hot = one_hot or columns
    if not any(file.split == "train" for file in found):
        raise DataError(f"{path}: there must be training images, but no row has split 'train' or none")
    folder = path if path.is_dir() else path.parent
    classes = class_file(folder)
    names = classes.for_labels(entry.label for file in found if file.split == "train" for entry in file.entries)
    return listed_source(found, task, folder=folder, names=names or one_hot, notes=(*notes, *classes.notes))


def _find_files(path: Path) -> tuple[list[tuple[Path, SplitName | None]], list[str]]:
    """Files, each with the split that its name says, if any; and which others lie beside them."""
    if path.is_file():
        return [(path, None)], []
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
    named: dict[SplitName, list[Path]] = {}
    for split in _SPLITS:
        exact = [file for file in tables if file.name == f"{split}.csv"]
        named[split] = exact or [file for file in tables if split_of(file.stem) == split]
        if len(named[split]) > 1:
            listed = ", ".join(file.name for file in named[split])
            raise DataError(f"{path}: {listed} could each be the {split} table; leave one, or name it {split}.csv")
    if named["train"]:
        files: list[tuple[Path, SplitName | None]] = [(named[split][0], split) for split in _SPLITS if named[split]]
    elif len(tables) == 1:
        files = [(tables[0], None)]
    elif not tables and (inside := tables_in_splits(path)):
        files, tables = [(table, split) for split, table in inside.items()], sorted(filter(_is_table, path.glob("*/*")))
    else:
        below = sorted(file.parent.relative_to(path).as_posix() for file in path.glob("*/*.csv"))
        where = f" ({', '.join(dict.fromkeys(below))} holds some: give that folder)" if below and not tables else ""
        listed = f": {', '.join(file.name for file in tables)}; give the file" if tables else where
        raise DataError(
            f"{path}: there must be a train.csv or exactly one CSV file, but there are {len(tables)}{listed}"
        )
    read = {file for file, _ in files}
    others = [file.relative_to(path).as_posix() for file in tables if file not in read]
    return files, [f"not used: {', '.join(others)}"] if others else []


def tables_in_splits(folder: Path) -> dict[SplitName, Path]:
    """The only table in each folder of a split, as in train/_classes.csv, valid/_classes.csv; empty without training's.

    Raises DataError if a split has several tables.
    """
    folders = sorted(each for each in folder.iterdir() if each.is_dir() and not is_junk_name(each.name))
    tables = {place.name: [file for file in sorted(place.iterdir()) if _is_table(file)] for place in folders}
    found: dict[SplitName, list[Path]] = {}
    for name, split in splits_of(name for name, held in tables.items() if held).items():
        found.setdefault(split, []).extend(tables[name])
    for split, several in found.items():
        if len(several) > 1:
            listed = ", ".join(file.relative_to(folder).as_posix() for file in several)
            raise DataError(f"{folder}: {listed} could each be the {split} table; leave one, or give the file")
    return {split: found[split][0] for split in _SPLITS if split in found} if "train" in found else {}


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not is_junk_name(path.name) and path.is_file()


def _read_table(path: Path) -> _Table:
    text = read_text(path)
    lines = list(text.lines)
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return _Table(path=path, header=(), rows=(), notes=text.notes)
    try:
        separator, skipped = _separator(lines[first])
        start = first + skipped
        rows = [(start + line, row) for line, row in _rows(lines[start:], separator)]
    except csv.Error as error:
        raise DataError(f"{path}: not readable as a table ({error}); save it as CSV with commas again") from error
    rows = [(line, row) for line, row in rows if any(row)]
    header = rows[0][1] if rows else ()
    notes = text.notes if separator == "," else (*text.notes, f"{path.name}: {_SEPARATORS[separator]} separate columns")
    return _with_header(_Table(path=path, header=header, rows=tuple(rows[1:]), notes=notes), rows[:1])


def _rows(lines: Sequence[str], separator: str) -> list[tuple[int, tuple[str, ...]]]:
    """Line numbers and cells. Raises csv.Error, also for a quote that is never closed, which would swallow rows."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    try:
        return [(reader.line_num, tuple(map(str.strip, row))) for row in reader]
    except csv.Error as error:
        if "end of data" in str(error):
            raise
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t")  # spaces after a quote
    return [(reader.line_num, tuple(map(str.strip, row))) for row in reader]


def _separator(line: str) -> tuple[str, bool]:
    """The sign that makes most columns of the first line; and whether that line only says so (Excel's `sep=;`)."""
    if line.lower().startswith("sep=") and line[4:5] in _SEPARATORS and not line[5:].strip():
        return line[4], True
    return max(_SEPARATORS, key=lambda sign: len(next(csv.reader([line], delimiter=sign), []))), False


def _with_header(table: _Table, first: Sequence[tuple[int, tuple[str, ...]]]) -> _Table:
    """The table with all rows as long as the header. One of two columns without a header is given one."""
    header, rows = table.header, table.rows
    images = [is_image_name(cell.replace("\\", "/").rpartition("/")[2]) for cell in header]
    if sum(images) == 1 and len(header) == 2:
        at = images.index(True)
        header = ("path", "label") if at == 0 else ("label", "path")
        rows = (*first, *rows)
        note = f"{table.path.name} has no header; column {at + 1} is read as path, column {2 - at} as label"
        table = replace(table, notes=(*table.notes, note))
    width = len(header)
    for line, row in rows:
        if any(row[width:]):
            raise DataError(
                f"{table.path}:{line}: a row needs {width} values, as the header has, but this one has {len(row)}; put "
                "values that hold the separator in quotes"
            )
    padded = tuple((line, (*row, *[""] * (width - len(row)))[:width]) for line, row in rows)
    return replace(table, header=header, rows=padded)


def _list_file(
    table: _Table, split: SplitName | None, task: TaskConfig, *, alone: bool
) -> tuple[list[ListFile], list[str] | None]:
    """The images and labels of each split in the table; and its one-hot classes, in their order.

    The name of the file says the split where there are several files, else the rows do.
    """
    columns = _choose(table, split, task, alone=alone)
    at = {name: table.header.index(name) for name in (columns.image, columns.label, columns.split) if name}
    grouped = has_group_column(table.header, task.group, str(table.path))
    group = table.header.index(str(task.group)) if grouped else None
    labels = _one_hot_labels(table, columns.classes) if columns.classes else None
    entries: dict[SplitName, list[ListedImage]] = {}
    for index, (line, row) in enumerate(table.rows):
        name, label = row[at[columns.image]], row[at[columns.label]] if columns.label else ""
        word = row[at[columns.split]] if columns.split else ""
        said = split_of(word) if word else split or "train"
        if not name or said is None:
            raise DataError(
                f"{table.path}:{line}: a row needs an image, a label and no split or one of train, val, test, but got "
                f"{dict(zip(table.header, row, strict=True))}"
            )
        entries.setdefault(said, []).append(
            ListedImage(name, labels[index] if labels else label, None if group is None else row[group])
        )
    unused = {name: [row[k] for _, row in table.rows] for k, name in enumerate(table.header) if is_group_name(name)}
    told = unused_group_notes(table.path.name, unused, task)
    sure, notes = split is not None or columns.split is not None, (*table.notes, *columns.notes, *told)
    files = [
        ListFile(path=table.path, split=each, entries=tuple(found), sure=sure, notes=notes)
        for each, found in entries.items()
    ]
    return files, list(columns.classes) or None


def _choose(table: _Table, split: SplitName | None, task: TaskConfig, *, alone: bool) -> _Columns:
    """The columns that are read. Raises DataError if the table has no labels, unless it is of val or test."""
    told, where, header = told_columns(task), table.path, table.header
    image = choose_column(header, "image", told=told.get("image"), documented=("path",), where=where)
    if image is None:
        raise missing_column(header, "image", documented="path", where=where)
    words, notes = _split_column(table, told.get("split"))
    notes += _ignored_splits(table) if words is None and alone else []
    if words is not None and not alone:
        words, notes = None, [f"{where.name}: column {words!r} is not used; the file's name says the split"]
    said, needed = told.get("label"), split in (None, "train")
    classes = [part.strip() for part in said.split(",")] if said else []
    if said is not None and (said in header or len(classes) < 2 or not set(classes) <= set(header)):
        classes = []
    label = None
    if not classes and (needed or said is None or said in header):
        label = choose_column(header, "label", told=said, documented=("label",), where=where)
    if label is not None:
        notes += chosen_note(where, header, image, label, documented=("path", "label"))
        return _Columns(image=image, label=label, split=words, notes=tuple(notes))
    classes = classes or _switches(table, (image, words))
    if not classes and needed:
        raise missing_column(header, "label", documented="label", where=where)
    how = f"the columns {', '.join(classes)} are the classes (one-hot)" if classes else "there is no column of labels"
    notes.append(f"{where.name}: column {image!r} holds the images; {how}")
    return _Columns(image=image, classes=tuple(classes), split=words, notes=tuple(notes))


def _split_column(table: _Table, told: str | None) -> tuple[str | None, list[str]]:
    """The column that says the split, and a note if it has another name than `split`.

    A well-known one is taken if a value is a word for a split. Raises DataError if other values are none.
    """
    found = choose_column(table.header, "split", told=told, documented=("split",), where=table.path)
    if found is None:
        return None, []
    at = table.header.index(found)
    strange = sorted({row[at] for _, row in table.rows if row[at] and not split_of(row[at])})
    if found not in ("split", told) and not any(split_of(row[at]) for _, row in table.rows):
        return None, []
    if found not in ("split", told) and strange:
        raise DataError(
            f"{table.path}: column {found!r} says splits in some rows, but {strange[0]!r} in others, which is none of "
            "train, val, test; write one of these in each row, or leave the column out"
        )
    return found, [] if found == "split" else [f"{table.path.name}: column {found!r} says the split"]


def _ignored_splits(table: _Table) -> list[str]:
    """A note about columns such as `is_training` and `fold`, which are not read."""
    found = [name for name in table.header if split_of(_IS.sub("", name)) or plain_name(name) in _FOLDS]
    if not found:
        return []
    return [
        f"{table.path.name}: {', '.join(map(repr, found))} may say the split, but is not read; write train, val or "
        "test into a column split"
    ]


def _switches(table: _Table, besides: Sequence[str | None]) -> list[str]:
    """The columns that hold nothing but 0 and 1; a table of classes has at least two."""
    found = [
        name
        for at, name in enumerate(table.header)
        if name and name not in besides and table.rows and all(_is_switch(row[at]) for _, row in table.rows)
    ]
    return found if len(found) > 1 else []


def _is_switch(cell: str) -> bool:
    return cell in ("0", "1", "0.0", "1.0")


def _one_hot_labels(table: _Table, classes: Sequence[str]) -> list[str]:
    """The class of each row. Raises DataError for rows with none or several."""
    at = [table.header.index(name) for name in classes]
    marked = [[name for name, k in zip(classes, at, strict=True) if row[k] in ("1", "1.0")] for _, row in table.rows]
    odd = [index for index, found in enumerate(marked) if len(found) != 1]
    if odd:
        raise DataError(
            f"{table.path}:{table.rows[odd[0]][0]}: a row of the columns {', '.join(classes)} needs a single 1, which "
            f"is its class, but {len(odd)} of {len(table.rows)} rows have none or several; multi-label sets are not "
            "trained: leave these rows out, or name the columns of classes with --set task.columns.label=A,B,C"
        )
    return [found[0] for found in marked]
