"""Tidy pandas frames of a study: one row per item, one dotted column per quantity, None as missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from studies.applicable import applicable
from studies.records import ClassRow
from studies.store import Store
from studies.study_data import in_order
from trainers.config import Scalar


def trials_frame(store: Store) -> pd.DataFrame:
    """One row per trial: parameters as `stage1.lr`, measures as `val.many`; a missing value is an empty cell."""
    ends = ("temperature", "seconds", "started", "finished", "reason")
    fixed = ("number", "state", "value", "role", "job", "backbone", "backbone_index", "round", "precision", "space")
    rows = store.trials()
    return _frame(
        ({**_fields_of(row, fixed), **row.params, **row.metrics, **_fields_of(row, ends)} for row in rows),
        columns=(*fixed, *_all_keys(row.params for row in rows), *_all_keys(row.metrics for row in rows), *ends),
    )


def backbones_frame(store: Store) -> pd.DataFrame:
    """One row per backbone, with its whole `task.*` and `stage1.*` configuration."""
    fixed = ("fingerprint", "index", "kind", "seconds", "cached", "parameters", "device", "precision")
    rows = store.backbones()
    return _frame(
        ({**_fields_of(row, fixed), **row.config, **row.metrics} for row in rows),
        columns=(*fixed, *_all_keys(row.config for row in rows), *_all_keys(row.metrics for row in rows)),
    )


def epochs_frame(store: Store) -> pd.DataFrame:
    """One row per epoch: of stage 1 with its `backbone`, of stage 2 with its trial's `number`."""
    fixed = ("stage", "backbone", "number", "epoch")
    rows = store.epochs()
    frame = _frame(
        ({**_fields_of(row, fixed), **row.metrics} for row in rows),
        columns=(*fixed, *_all_keys(row.metrics for row in rows)),
    )
    return frame.astype({"number": "Int64"})


def classes_frame(store: Store) -> pd.DataFrame:
    """One row per trial, split and class; `recall` is missing where the split has no image of the class."""
    names = store.study().class_names
    columns = (
        "number", "split", "class_index", "class_name", "train_count", "correct", "total", "recall", "weight_norm",
    )  # fmt: skip
    return _frame(
        ({"number": number, **_class(row, names)} for number, rows in store.classes_by_trial().items() for row in rows),
        columns=columns,
    )


def posthoc_frame(store: Store) -> pd.DataFrame:
    """One row per post-hoc classifier of a backbone, with its `stage2.*` settings."""
    rows = store.posthoc()
    settings = [
        {key: value for key, value in applicable(row.config).items() if key.startswith("stage2.")} for row in rows
    ]
    return _frame(
        ({"backbone": row.backbone, **own, **row.metrics} for row, own in zip(rows, settings, strict=True)),
        columns=("backbone", *_all_keys(settings), *_all_keys(row.metrics for row in rows)),
    )


def readings_frame(store: Store) -> pd.DataFrame:
    """One row per reading of test data: best, baselines in the space's order, fresh seeds; `number` is the trial's.

    Settings of `stage1.*` and `stage2.*` are beside the measures; a setting that did not affect a result is missing.
    """
    fixed = ("role", "number", "backbone", "precision", "temperature", "read_at")
    rows = in_order(store.readings(), store.study().space_yaml)
    settings = [
        {name: value for name, value in applicable(row.config).items() if not name.startswith("task.")} for row in rows
    ]
    frame = _frame(
        ({**_fields_of(row, fixed), **own, **row.metrics} for row, own in zip(rows, settings, strict=True)),
        columns=(*fixed, *_all_keys(settings), *_all_keys(row.metrics for row in rows)),
    )
    return frame.astype({"number": "Int64"})


def _frame(rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame.from_records([dict(row) for row in rows], columns=list(columns))


def _fields_of(row: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _all_keys(rows: Iterable[Mapping[str, Scalar]]) -> list[str]:
    """All keys, in the order of their first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _class(row: ClassRow, names: Sequence[str]) -> dict[str, Any]:
    fixed = ("split", "class_index", "train_count", "correct", "total", "weight_norm")
    name = names[row.class_index] if row.class_index < len(names) else None
    return {**_fields_of(row, fixed), "class_name": name, "recall": row.correct / row.total if row.total else None}
