"""Deleting a study with another program deletes our rows, in SQLite too.

SQLite enforces foreign keys only on connections that ask for it, and Optuna's do not; it always runs triggers. Rows
left over from deleted studies are removed: SQLite may reuse their ids.
"""

from __future__ import annotations

from alembic import op

revision, down_revision = "0004", "0003"
branch_labels = depends_on = None

_OWNERS = (  # table, its key, and who points to it, owners first
    ("studies", "study_id", ("tuner_studies",)),
    ("trials", "trial_id", ("tuner_trials",)),
    ("tuner_studies", "study_id", ("tuner_backbones", "tuner_jobs", "tuner_progress", "tuner_readings")),
    ("tuner_jobs", "job_id", ("tuner_trials",)),
    ("tuner_backbones", "backbone_id", ("tuner_epochs", "tuner_posthoc")),
    ("tuner_trials", "trial_id", ("tuner_epochs", "tuner_classes")),
)
_POINTERS = (("tuner_backbones", "backbone_id", "tuner_jobs"), ("tuner_trials", "trial_id", "tuner_readings"))


def upgrade() -> None:
    """Removes rows without an owner and adds one trigger per foreign key; does nothing on other databases."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for owner, key, owned in _OWNERS:
        for table in owned:
            op.execute(f"DELETE FROM {table} WHERE {key} IS NOT NULL AND {key} NOT IN (SELECT {key} FROM {owner})")
            _when_deleted(owner, table, f"DELETE FROM {table} WHERE {key} = OLD.{key}")
    for owner, key, table in _POINTERS:
        gone = f"UPDATE {table} SET {key} = NULL WHERE {key}"
        op.execute(f"{gone} NOT IN (SELECT {key} FROM {owner})")
        _when_deleted(owner, table, f"{gone} = OLD.{key}")


def _when_deleted(owner: str, table: str, deed: str) -> None:
    op.execute(f"CREATE TRIGGER tuner_{owner}_of_{table} AFTER DELETE ON {owner} BEGIN {deed}; END")
