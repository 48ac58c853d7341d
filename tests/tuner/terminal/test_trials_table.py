"""The table of trials: which columns it has."""

from __future__ import annotations

from datetime import UTC, datetime

from studies.records import TrialRow
from tuner.terminal.tables import trial, trials_table


def row(number: int, role: str, *, epochs: int) -> TrialRow:
    return TrialRow(
        number=number,
        state="COMPLETE",
        value=0.5,
        params={"stage1.lr": 0.1},
        config={"stage1.lr": 0.1, "stage1.epochs": epochs},
        metrics={},
        role=role,
        job=1,
        backbone=None,
        backbone_index=0,
        round=0,
        started=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_epochs_are_shown_where_schedules_differ_in_length() -> None:
    rows = [row(0, "rung", epochs=40), row(1, "search", epochs=320)]
    columns = {column.header: list(column.cells) for column in trials_table(rows, title="tail").columns}
    assert list(columns)[:4] == ["trial", "state", "role", "stage1.epochs"]
    assert columns["stage1.epochs"] == ["40", "320"]
    assert [trial(one)["epochs"] for one in rows] == [40, 320]
    alike = trials_table(rows[1:], title="tail").columns
    assert "stage1.epochs" not in [column.header for column in alike]
