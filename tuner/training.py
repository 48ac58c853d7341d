"""An exported configuration trained again, from the YAML and the data alone: model, metrics, and how far it is off."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.scalars import scalar
from studies.exported import ExportedConfig, load_config
from tuner.errors import NotThereError, TunerError, UsageError
from tuner.views import percent


@dataclass(frozen=True)
class TrainedExport:
    """What `tuner train` leaves behind."""

    model: Path
    metrics_file: Path
    metrics: Mapping[str, float | None]
    exported: ExportedConfig
    same_data: bool


def train_export(path: Path, *, output: Path, data: Path | None = None, overrides: Sequence[str] = ()) -> TrainedExport:
    """Trains the configuration in `path`, reads test once, writes model.safetensors and metrics.json.

    Nothing is taken from a cache: the result stands on the YAML and the data. Raises NotThereError when there is no
    such file, ExportError when it is no configuration, UsageError for a wrong override, TrainerError if training fails.
    """
    if not path.exists():
        raise NotThereError(f"{path}: no such file; write one with: tuner export STUDY -o best.yaml")
    exported = load_config(path)
    config = {**exported.config, **_overrides(overrides)}
    if data is not None:
        config["task.data"] = str(data.absolute())
    return _train(config, exported, output)


def compare(trained: TrainedExport) -> list[str]:
    """Line by line: what the export promised, what came out, and the difference."""
    lines = [] if trained.same_data else ["the data differs from that of the study: figures cannot be compared"]
    for name, wanted in trained.exported.expect.items():
        got = trained.metrics.get(name)
        if got is None:
            continue
        off = 100 * (got - wanted.value)
        within = "" if wanted.tolerance is None else f" (tolerance {100 * wanted.tolerance:.1f})"
        lines.append(f"{name:28} exported {percent(wanted.value):>8}  now {percent(got):>8}  {off:+.1f} points{within}")
    return [*lines, f"model    {trained.model}", f"metrics  {trained.metrics_file}"]


def _overrides(texts: Sequence[str]) -> dict[str, Any]:
    from trainers.config import FLAT_NAMES

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in FLAT_NAMES:
            raise UsageError(f"--set {text}: write name=value with one of: {', '.join(FLAT_NAMES)}")
        found[name] = scalar(value)
    return found


def _train(config: Mapping[str, Any], exported: ExportedConfig, output: Path) -> TrainedExport:
    import torch

    from trainers.job import Job, run_job
    from trainers.model_file import describe, save_model
    from trainers.results import HeadFailure

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    events = run_job(Job.from_flat([config], read_test=True), cache=None, device=device)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            trained = stop.value
            break
    (head,), (linear,) = trained.result.heads, trained.heads
    if isinstance(head, HeadFailure) or linear is None:
        raise TunerError(f"stage 2 came to nothing: {head.reason if isinstance(head, HeadFailure) else 'no head'}")
    card = describe(trained.task, model=str(config["task.model"]), temperature=head.temperature, config=dict(config))
    model = output / "model.safetensors"
    save_model(model, trained.model, linear, card)
    metrics_file = output / "metrics.json"
    metrics_file.write_text(json.dumps(dataclasses.asdict(trained.result), indent=1))
    fingerprint = exported.provenance.get("dataset", {}).get("fingerprint")
    return TrainedExport(
        model=model,
        metrics_file=metrics_file,
        metrics=head.metrics,
        exported=exported,
        same_data=fingerprint in (None, trained.task.fingerprint),
    )
