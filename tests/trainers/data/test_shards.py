"""A shard that is missing by the numbers in its neighbours' names, and shards of several sets."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainers.data.parquet_files import find_split_files
from trainers.data.shards import check_shards
from trainers.errors import DataError

WHOLE = (
    "train-00000-of-00001.parquet",
    "train-00000-of-00002.parquet train-00001-of-00002.parquet",
    "train-00000-of-00002-6d1b-9.parquet train-00001-of-00002-77a0-3.parquet",
    "train-1-of-2.parquet train-2-of-2.parquet",
    "train.parquet",
    "0000.parquet 0001.parquet",
    "a.parquet b.parquet",
    "train-part1.parquet train-part3.parquet",  # no numbering that says how many there are
)


@pytest.mark.parametrize("names", WHOLE)
def test_whole(names: str) -> None:
    check_shards([Path("data") / name for name in names.split()])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            "train-00000-of-00003.parquet train-00002-of-00003.parquet",
            "3 shards, but 1 of them are missing, number 00001;",
        ),
        (
            "train-00001-of-00003.parquet train-00002-of-00003.parquet",
            "3 shards, but 1 of them are missing, number 00000;",
        ),
        ("train-00007-of-01000.parquet", "999 of them are missing, number 00000, 00001, 00002, 00003, 00004 ...;"),
        ("train-00000-of-00001.parquet train-00000-of-00002.parquet", "shards of one set, but these are of several"),
        ("train-00000-of-00001.parquet train-extra.parquet", "shards of one set, but these are of several"),
        ("train-00000-of-00001-a.parquet train-00000-of-00001-b.parquet", "one file, but 2 files are numbered 0, 0;"),
        ("train-00000-of-00001.parquet train-00003-of-00001.parquet", "numbered up to 0, but there is 00003"),
        ("0000.parquet 0002.parquet", "3 shards, but 1 of them are missing, number 0001;"),
    ],
)
def test_incomplete(names: str, words: str) -> None:
    with pytest.raises(DataError, match=f"data: .*{words}"):
        check_shards([Path("data") / name for name in names.split()])


def test_a_parquet_folder_without_one_of_its_shards(tmp_path: Path) -> None:
    for number in (0, 2):
        pq.write_table(pa.table({"image": [b""], "label": [0]}), tmp_path / f"train-0000{number}-of-00003.parquet")
    with pytest.raises(DataError, match="number 00001"):
        find_split_files(tmp_path)
