"""Parquet files with a column of encoded images, or of their paths, and one of labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainers.config import TaskConfig
from trainers.data.claims import check_claim
from trainers.data.groups import has_group_column, is_group_name, unused_group_notes
from trainers.data.image_paths import ImageFinder, Listing
from trainers.data.images import EncodedImages, FileImages, Images
from trainers.data.labels import labelled_source, without_hidden
from trainers.data.parquet_files import SplitFiles, find_split_files
from trainers.data.pool import Normalization, RawPool, Source, SplitName, data_path
from trainers.data.table_columns import choose_column, chosen_note, missing_column, told_columns
from trainers.data.unlisted import unlisted_notes
from trainers.errors import DataError
from trainers.long_tail import IntArray

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label", "labels")
_ROWS_AT_A_TIME, _BYTES_OF_A_ROW = 16, 16  # a row has at least an offset and a label


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The columns of one split that are read."""

    path: Path  # of its first file
    table: pa.Table
    image: str
    label: str | None  # None: a split without labels


def read_parquet(task: TaskConfig) -> Source:
    """Reads a folder with train.parquet[, val.parquet][, test.parquet] (or Hugging Face's forms), or a single file."""
    path = data_path(task)
    return source_from_files(SplitFiles({"train": [path]}) if path.is_file() else find_split_files(path), task)


def source_from_files(found: SplitFiles, task: TaskConfig, *, normalization: Normalization | None = None) -> Source:
    """Reads the splits; the schema's `class_names`, or Hugging Face's features, name the classes. Raises DataError."""
    rows = {split: _read_files(paths, split, task) for split, paths in found.files.items()}
    train = rows["train"]
    names = train.table.column_names
    known = (*IMAGE_COLUMNS, *LABEL_COLUMNS)
    notes = [*found.notes, *chosen_note(train.path, names, train.image, str(train.label), documented=known)]
    unused = {name: train.table[name].to_pylist() for name in names if is_group_name(name) and name != train.label}
    notes += unused_group_notes(train.path.name, unused, task)
    labels, hidden = without_hidden({split: _labels(each) for split, each in rows.items()})
    finder = ImageFinder.of(task, data_path(task) if data_path(task).is_dir() else data_path(task).parent)
    pools = {split: _pool(rows[split], values, finder, split, task.group) for split, values in labels.items()}
    used = [path for pool in pools.values() if isinstance(pool.images, FileImages) for path in pool.images.paths]
    unlisted = unlisted_notes(finder.folder, used, whole=data_path(task).is_dir()) if used else []
    return labelled_source(
        pools, _class_names(train), normalization=normalization, notes=[*notes, *hidden, *unlisted, *finder.notes]
    )


@contextmanager
def _only_data_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # pyarrow raises a dozen types for broken files
        raise DataError(f"{path}: not a readable parquet file ({error}); fetch or write it again") from error


def _read_files(paths: Sequence[Path], split: SplitName, task: TaskConfig) -> _Rows:
    tables = [_read_table(path, split, task) for path in paths]
    try:
        table = pa.concat_tables([each.table for each in tables])
    except pa.ArrowException as error:
        raise DataError(f"{paths[0]}: its columns differ from those of its other shards ({error})") from error
    if not len(table):
        raise DataError(f"{paths[0]}: the parquet file has no rows")
    return _Rows(path=paths[0], table=table, image=tables[0].image, label=tables[0].label)


def _read_table(path: Path, split: SplitName, task: TaskConfig) -> _Rows:
    with _only_data_errors(path):
        stored = path.stat().st_size
        if stored == 0:
            raise DataError(f"{path}: the file is empty (0 bytes); fetch or write it again")
        with pq.ParquetFile(path) as file:
            has_group_column(file.schema_arrow.names, task.group, str(path), needed=True)
            image, label = _columns(file.schema_arrow, path, split, task)
            wanted = [name for name in (image, label) if name]
            others = [name for name in file.schema_arrow.names if name in ("rank", task.group) or is_group_name(name)]
            wanted += [name for name in others if name not in wanted]
            return _Rows(path=path, table=_read_columns(file, wanted, path, stored=stored), image=image, label=label)


def _columns(schema: pa.Schema, path: Path, split: SplitName, task: TaskConfig) -> tuple[str, str | None]:
    """The columns of images and labels: as told, as documented, as Hugging Face's features say, or well known."""
    names, told, features = schema.names, told_columns(task), _features(schema)
    image = choose_column(
        names, "image", told=told.get("image"), documented=(*IMAGE_COLUMNS, *_of_type(features, "Image")), where=path
    )
    if image is None:
        raise missing_column(names, "image", documented=IMAGE_COLUMNS[0], where=path)
    said = told.get("label")
    if said is not None and said not in names and split != "train":
        return image, None
    documented = (*LABEL_COLUMNS, *_of_type(features, "ClassLabel"))
    label = choose_column(names, "label", told=said, documented=documented, where=path)
    if label is None and split == "train":
        raise missing_column(names, "label", documented=LABEL_COLUMNS[0], where=path)
    return image, label


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    """Hugging Face's description of the columns; empty without one, or for one that cannot be read."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):  # `_class_names` says so if it is needed
        return {}
    return found if isinstance(found, dict) else {}


def _of_type(features: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """The only column of this type."""
    found = [name for name, said in features.items() if isinstance(said, dict) and said.get("_type") == kind]
    return tuple(found) if len(found) == 1 else ()


def _read_columns(file: pq.ParquetFile, columns: list[str], path: Path, *, stored: int) -> pa.Table:
    """Reads a few rows at a time: a dictionary page can expand to any size, which no header tells."""
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    chunks = [group.column(k) for group in groups for k in range(group.num_columns)]
    claimed = sum(each.total_uncompressed_size for each in chunks if each.path_in_schema.split(".")[0] in columns)
    check_claim(str(path), claimed=max(claimed, _BYTES_OF_A_ROW * file.metadata.num_rows), stored=stored)
    batches, read = list[pa.RecordBatch](), 0
    for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=columns, use_threads=False):
        batches.append(batch)
        read += batch.nbytes
        check_claim(str(path), claimed=read, stored=stored)
    return pa.Table.from_batches(batches) if batches else file.schema_arrow.empty_table().select(columns)


def _pool(rows: _Rows, labels: Sequence[object], finder: ImageFinder, split: SplitName, group: str | None) -> RawPool:
    with _only_data_errors(rows.path):
        rank = _rank(rows.table["rank"], rows.path) if "rank" in rows.table.column_names else None
        groups = None if group is None else rows.table[group].to_pylist()
        return RawPool(images=_images(rows, finder, split), labels=labels, rank=rank, groups=groups)


def _rank(column: pa.ChunkedArray, path: Path) -> IntArray:
    if column.null_count or not pa.types.is_integer(column.type):
        raise DataError(f"{path}: ranks must be whole numbers without gaps, but the column is {column.type}")
    found: IntArray = column.cast(pa.int64()).to_numpy()
    return found


def _images(rows: _Rows, finder: ImageFinder, split: SplitName) -> Images:
    """Encoded images, alone or in Hugging Face's struct {bytes, path}; or files, where there are only paths."""
    column = _plain(rows.table[rows.image])
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        paths, column = _field(column, "path"), pc.struct_field(column, [column.type.get_field_index("bytes")])
        if paths is not None and len(column) == column.null_count and _is_text(paths.type):
            column = paths
        column = _plain(column)
    if _is_text(column.type):
        _check_filled(column, rows.path)
        finder.notes.append(
            f"{rows.path.name}: column {rows.image!r} holds paths; the images are read from their files"
        )
        return FileImages(tuple(finder.find(Listing(names=column.to_pylist(), listed_in=rows.path, split=split))))
    if not _is_bytes(column.type):
        raise DataError(
            f"{rows.path}: column {rows.image!r} must hold encoded images (binary) or paths (text), but is "
            f"{column.type}; save each image as PNG, or arrays of pixels as npz"
        )
    _check_filled(column, rows.path)
    return EncodedImages(column.cast(pa.large_binary()).combine_chunks(), str(rows.path))  # offsets beyond 2 GiB


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without a dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _field(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray | None:
    """A field of a struct, which is missing where the struct is."""
    at = column.type.get_field_index(name)
    return None if at < 0 else _plain(pc.struct_field(column, [at]))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    checks = (
        pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary
    )  # fmt: skip
    return any(check(kind) for check in checks)


def _check_filled(column: pa.ChunkedArray, path: Path) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(
            f"{path}, row {row}: the image is missing, and so it is in {column.null_count} of {len(column)} rows; fill "
            "it or leave the row out"
        )


def _labels(rows: _Rows) -> list[object]:
    """As found, None for a missing one. Raises DataError for a type that is no label."""
    if rows.label is None:
        return [None] * len(rows.table)
    with _only_data_errors(rows.path):
        column = _plain(rows.table[rows.label])
        kind = column.type
        if pa.types.is_floating(kind):
            fractions = pc.any(pc.and_(pc.is_finite(column), pc.not_equal(column, pc.floor(column)))).as_py()
            if fractions:
                raise DataError(f"{rows.path}: labels must be whole numbers or text, but the column is {kind}")
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if not (plain or listed or pa.types.is_null(kind) or _is_text(kind) or _is_bytes(kind)):
            raise DataError(f"{rows.path}: labels must be whole numbers or text, but the column is {kind}")
        values: list[object] = column.to_pylist()
        return values


def _class_names(rows: _Rows) -> list[str] | None:
    metadata = rows.table.schema.metadata or {}
    try:
        if b"class_names" in metadata:
            return [str(name) for name in json.loads(metadata[b"class_names"])]
        if b"huggingface" in metadata:
            said = json.loads(metadata[b"huggingface"])["info"]["features"][rows.label]
            names = said.get("names") or said.get("feature", {}).get("names")  # of one label, or of a list of labels
            return None if names is None else [str(name) for name in names]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{rows.path}: the class names in its schema cannot be read ({error!r})") from error
    return None
