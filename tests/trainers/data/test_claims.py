"""Archives and tables that claim, or unpack to, more than they hold: refused before memory is taken."""

from __future__ import annotations

import io
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import hostile_images as made
from trainers.config import TaskConfig
from trainers.data.task import load_task
from trainers.errors import DataError

LABELS = np.arange(20) % 2


def npy(shape: tuple[int, ...], descr: str = "|u1", *, data: bytes = b"") -> bytes:
    """An array whose header may lie."""
    buffer = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + data


def labels() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, LABELS)
    return buffer.getvalue()


ARCHIVES: dict[str, Callable[[], dict[str, bytes]]] = {
    "a bomb": lambda: {"images": npy((20, 2000, 2000), data=bytes(20 * 2000**2)), "labels": labels()},
    "a bomb of labels": lambda: {
        "images": npy((20, 8, 8), data=bytes(1280)),
        "labels": npy((10**8,), data=bytes(10**8)),
    },
    "many pixels": lambda: {"images": npy((20, 2**20, 2**20)), "labels": labels()},
    "more than 2**63 pixels": lambda: {"images": npy((2**31, 2**31, 2**31)), "labels": labels()},
    "no size": lambda: {"images": npy((10**12, 0, 8)), "labels": npy((10**12,), "<U0")},
    "a wide type": lambda: {"images": npy((20, 8, 8), data=bytes(1280)), "labels": npy((20,), "<U99999999")},
    "objects": lambda: {"images": npy((20, 8, 8), "|O", data=b"cos\nsystem\n(S'touch x'\ntR."), "labels": labels()},
    "a deep header": lambda: {"images": b"\x93NUMPY\1\0\x10\x27" + b"(" * 10_000, "labels": labels()},
    "no arrays": lambda: {"images": b"raw", "labels": b"raw"},
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_claims_too_much_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in ARCHIVES[name]().items():
            archive.writestr(f"{member}.npy", data)
    refused("npz", tmp_path)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=np.zeros((20, 8, 8), np.uint8), labels=LABELS)
    data = bytearray((tmp_path / "set.npz").read_bytes())
    for at in (6, data.index(b"PK\1\2") + 8):
        data[at] |= 1
    (tmp_path / "set.npz").write_bytes(data)
    refused("npz", tmp_path)


def test_arrays_of_no_meaning_are_not_read(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=LABELS, notes=np.array([{}], dtype=object))
    assert load_task(TaskConfig(dataset="npz", data=str(tmp_path), imbalance_factor=None)).num_classes == 2


def dictionary(path: Path, value: bytes, rows: int) -> None:
    """One image, and any number of rows that point to it."""
    images = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value], pa.binary()))
    table = pa.table({"image": images, "label": [0] * rows})
    pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=2**30, store_schema=False)


def one_page(path: Path) -> None:
    images = pa.array([bytes(10**8)])
    pq.write_table(pa.table({"image": images, "label": [0]}), path, compression="zstd", use_dictionary=False)


def other_ranks(path: Path) -> None:
    black = [made.png(8, 8)] * 20
    pq.write_table(pa.table({"image": black, "label": LABELS, "rank": ["x"] * 20}), path)


def deep_names(path: Path) -> None:
    table = pa.table({"image": [made.png(8, 8)] * 20, "label": LABELS})
    pq.write_table(table.replace_schema_metadata({"class_names": "[" * 100_000}), path)


TABLES: dict[str, Callable[[Path], None]] = {
    "a dictionary": lambda path: dictionary(path, bytes(10**7), 1_000),
    "rows": lambda path: dictionary(path, b"x", 10**7),
    "one page": one_page,
    "ranks that are text": other_ranks,
    "names in brackets": deep_names,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_claims_too_much_is_refused(name: str, tmp_path: Path) -> None:
    TABLES[name](tmp_path / "train.parquet")
    refused("parquet", tmp_path)


def refused(kind: str, folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"set\.npz|train\.parquet"):
        load_task(TaskConfig(dataset=kind, data=str(folder), imbalance_factor=None))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
