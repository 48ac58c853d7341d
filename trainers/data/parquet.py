"""Parquet files with a column of encoded images and one of labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.config import TaskConfig
from trainers.data.claims import check_claim
from trainers.data.groups import has_group_column
from trainers.data.images import EncodedImages
from trainers.data.pool import Normalization, RawPool, Source, SplitName, build_source, data_path
from trainers.data.shards import check_shards
from trainers.errors import DataError
from trainers.long_tail import IntArray

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label", "labels")
_ROWS_AT_A_TIME, _BYTES_OF_A_ROW = 16, 16  # a row has at least an offset and a label
_SPLIT_FILES: dict[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "validation", "valid"),
    "test": ("test",),
}


def read_parquet(task: TaskConfig) -> Source:
    """Reads a folder with train.parquet[, val.parquet][, test.parquet] (or Hugging Face's shards), or a single file."""
    path = data_path(task)
    return source_from_files({"train": [path]} if path.is_file() else find_split_files(path), group=task.group)


def find_split_files(folder: Path) -> dict[SplitName, list[Path]]:
    """Files per split: `train.parquet`, or shards `train-00000-of-00002.parquet`, also in `data/`. Raises DataError."""
    found: dict[SplitName, list[Path]] = {}
    for split, stems in _SPLIT_FILES.items():
        for stem in stems:
            whole = [place / f"{stem}.parquet" for place in (folder, folder / "data")]
            shards = [sorted(place.glob(f"{stem}-*.parquet")) for place in (folder, folder / "data")]
            files = [path for path in whole if path.is_file()] or shards[0] or shards[1]
            if files and split not in found:
                check_shards(files)
                found[split] = files
    if "train" not in found:
        others = sorted(path.name for path in folder.glob("*.parquet"))
        held = f"only {', '.join(others)}" if others else "no parquet file"
        raise DataError(f"{folder}: there must be a train.parquet, but there is {held}; name it so, or give the file")
    return found


def source_from_files(
    files: dict[SplitName, list[Path]], *, normalization: Normalization | None = None, group: str | None = None
) -> Source:
    """Reads the splits; the schema's `class_names`, or Hugging Face's features, name the classes. Raises DataError."""
    tables = {split: _read_files(paths, group) for split, paths in files.items()}
    return build_source(
        {split: _pool_of_table(table, files[split][0], group) for split, table in tables.items()},
        _class_names(tables["train"], files["train"][0]),
        normalization=normalization,
    )


@contextmanager
def _only_data_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # pyarrow raises a dozen types for broken files
        raise DataError(f"{path}: not a readable parquet file ({error}); fetch or write it again") from error


def _read_files(paths: Sequence[Path], group: str | None) -> pa.Table:
    tables = [_read_table(path, group) for path in paths]
    try:
        table = pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise DataError(f"{paths[0]}: its columns differ from those of its other shards ({error})") from error
    if not len(table):
        raise DataError(f"{paths[0]}: the parquet file has no rows")
    return table


def _read_table(path: Path, group: str | None) -> pa.Table:
    with _only_data_errors(path):
        stored = path.stat().st_size
        if stored == 0:
            raise DataError(f"{path}: the file is empty (0 bytes); fetch or write it again")
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            has_group_column(names, group, str(path), needed=True)
            wanted = [_accepted_column(names, IMAGE_COLUMNS, path), _accepted_column(names, LABEL_COLUMNS, path)]
            wanted += [name for name in ("rank", group or "") if name in names and name not in wanted]
            return _read_columns(file, wanted, path, stored=stored)


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


def _accepted_column(names: Sequence[str], accepted: Sequence[str], path: Path) -> str:
    for name in accepted:
        if name in names:
            return name
    raise DataError(f"{path}: there must be a column {accepted[0]!r}, but there are {', '.join(map(repr, names))}")


def _pool_of_table(table: pa.Table, path: Path, group: str | None) -> RawPool:
    image_name = _accepted_column(table.column_names, IMAGE_COLUMNS, path)
    label_name = _accepted_column(table.column_names, LABEL_COLUMNS, path)
    with _only_data_errors(path):
        rank = _rank(table["rank"], path) if "rank" in table.column_names else None
        groups = None if group is None else table[group].to_pylist()
        images = EncodedImages(_encoded_images(table[image_name], path, image_name), str(path))
        return RawPool(images=images, labels=_labels(table[label_name], path), rank=rank, groups=groups)


def _rank(column: pa.ChunkedArray, path: Path) -> IntArray:
    if column.null_count or not pa.types.is_integer(column.type):
        raise DataError(f"{path}: ranks must be whole numbers without gaps, but the column is {column.type}")
    found: IntArray = column.cast(pa.int64()).to_numpy()
    return found


def _encoded_images(column: pa.ChunkedArray, path: Path, name: str) -> pa.Array:
    """The column as one array of binaries; Hugging Face stores them in a struct {bytes, path}."""
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        chunks = [chunk.field("bytes") for chunk in column.chunks]
        column = pa.chunked_array(chunks, column.type.field("bytes").type)
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise DataError(f"{path}: column {name!r} must hold encoded images (binary), but is {column.type}")
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(f"{path}, row {row}: the image is missing; fill it or leave the row out")
    return column.cast(pa.large_binary()).combine_chunks()  # large: offsets beyond 2 GiB


def _labels(column: pa.ChunkedArray, path: Path) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (
        pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ):
        raise DataError(f"{path}: labels must be whole numbers or text, but the column is {column.type}")
    values: list[Any] = column.to_pylist()
    return values


def _class_names(table: pa.Table, path: Path) -> list[str] | None:
    metadata = table.schema.metadata or {}
    try:
        if b"class_names" in metadata:
            return [str(name) for name in json.loads(metadata[b"class_names"])]
        if b"huggingface" in metadata:
            features = json.loads(metadata[b"huggingface"])["info"]["features"]
            names = features[_accepted_column(table.column_names, LABEL_COLUMNS, path)].get("names")
            return None if names is None else [str(name) for name in names]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: the class names in its schema cannot be read ({error!r})") from error
    return None
