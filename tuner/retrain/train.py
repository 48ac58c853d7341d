"""Trains an exported configuration again from the YAML and the data alone, and compares the figures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.export.data_path import portable_value
from studies.export.read import ExportedConfig, load_config
from studies.findings.spread import Spread, spreads
from studies.report.redaction import redacted_tree
from tuner.errors import NotThereError, TunerError
from tuner.outputs import refuse_special, staged
from tuner.retrain.model_card import model_card
from tuner.retrain.precision import precision_note
from tuner.retrain.request import RetrainRequest, changes, configuration, refuse_contradictions
from tuner.retrain.threads import exported_threads, threads, told
from tuner.retrain.tolerances import comparison, origin, within

if TYPE_CHECKING:
    from trainers.config import ResolvedPrecision
    from trainers.data.task import Task
    from trainers.files.model_file import ModelCard
    from trainers.job import Progress, Trained
    from trainers.results import ClassCounts, HeadResult, Metrics
    from trainers.weight_balance import LinearHead


@dataclass(frozen=True, kw_only=True)
class TrainedExport:
    """The output of `tuner train`. `metrics` holds mean and deviation over the runs; the model is the first run's."""

    model: Path
    metrics_file: Path
    card: Path
    runs: int
    metrics: Mapping[str, Spread]
    exported: ExportedConfig
    same_data: bool
    full: bool
    changed: tuple[str, ...] = ()  # settings that differ from the export's
    threads: str = ""  # the line for the user about threads
    precision: str = ""  # the same about what stage 1 computed in

    @property
    def outside(self) -> tuple[str, ...]:
        """Names of the values outside their tolerance."""
        return tuple(
            name for name, wanted in self.exported.expect.items() if not within(wanted, self.metrics.get(name))
        )


@dataclass(frozen=True)
class _Run:
    """One seed's training: its numbers and tensors."""

    seed: int
    metrics: Metrics
    classes: ClassCounts  # of test
    temperature: float
    trained: Trained
    head: LinearHead

    @property
    def gpu(self) -> bool:
        """True if it was trained on a GPU."""
        return self.trained.result.backbone.threads is None

    @property
    def precision(self) -> ResolvedPrecision | None:
        """What stage 1 computed in."""
        return self.trained.result.backbone.precision


_FILES = ("model.safetensors", "metrics.json", "model_card.md")
Watch = Callable[[int, "Progress"], None]  # seed, progress of its training


def train_export(path: Path, *, output: Path, asked: RetrainRequest, watch: Watch | None = None) -> TrainedExport:
    """Trains the configuration in `path`, reads test once a seed, writes model, metrics.json and model_card.md.

    It uses no cache: the result depends on the YAML and the data alone. Raises NotThereError if there is no such file,
    ExportError if it is no configuration, UsageError for a wrong request, TunerError if `check` finds other data than
    the study's or stage 2 failed, TrainerError if training fails.
    """
    if not path.exists():
        raise NotThereError(f"{path}: no such file; write one with: tuner export STUDY -o best.yaml")
    exported = load_config(path)
    refuse_contradictions(asked, exported, output=output)
    config = configuration(exported, asked)
    task = _load_task(config)
    same_data = exported.provenance.get("dataset", {}).get("fingerprint") in (None, task.fingerprint)
    if asked.check and not same_data and not asked.force:
        raise TunerError(_other_data(exported, task, path))
    temperature = _exported_temperature(exported, path) if asked.full else None
    output.mkdir(parents=True, exist_ok=True)  # now, not after hours of training
    for name in _FILES:
        refuse_special(output / name)
    runs = []
    with threads(exported_threads(exported.provenance)):
        for seed in asked.seeds or (None,):
            seeded = config if seed is None else {**config, "stage1.seed": seed, "stage2.seed": seed}
            runs.append(train_seed(seeded, task, temperature=temperature, watch=watch))
    written = _write_files(
        output, config=config, task=task, runs=runs, exported=exported, same_data=same_data, full=asked.full
    )
    words = told(exported_threads(exported.provenance), gpu=runs[0].gpu)
    note = precision_note(exported.provenance, config, runs[0].precision)
    return dataclasses.replace(written, changed=tuple(changes(exported, config)), threads=words, precision=note)


def compare(trained: TrainedExport) -> list[str]:
    """The lines of the comparison: expected figures, measured ones, and the files written."""
    lines = [] if trained.same_data else ["the data differs from that of the study: figures cannot be compared"]
    if trained.full:
        lines.append("trained on validation images too: the export's figures are of a model that had fewer images")
    elif trained.changed:
        lines.append(f"figures are of another configuration than the export's: {', '.join(trained.changed)}")
    wanted = {
        name: one
        for name, one in trained.exported.expect.items()
        if name in trained.metrics or (one.tolerance is not None and not trained.full)
    }
    lines += origin(trained.exported.provenance) if wanted else []
    lines += comparison(wanted, trained.metrics, runs=trained.runs)
    lines += [line for line in (trained.precision, trained.threads) if line]
    files = (("model", trained.model), ("metrics", trained.metrics_file), ("card", trained.card))
    return [*lines, *(f"{name:8} {path}" for name, path in files)]


def _load_task(config: Mapping[str, Any]) -> Task:
    from trainers.config import TrialConfig
    from trainers.job import load_task_once

    return load_task_once(TrialConfig.from_flat(config).task)


def _other_data(exported: ExportedConfig, task: Task, path: Path) -> str:
    known = exported.provenance["dataset"]
    return (
        f"{path} was measured on other data: fingerprint {str(known['fingerprint'])[:12]}, but here it is "
        f"{task.fingerprint[:12]} ({task.num_classes} classes, {sum(task.counts)} training images; then "
        f"{known.get('classes', '?')} and {known.get('training_images', '?')}); bring that data back with --data, or "
        "compare all the same with --force"
    )


def _exported_temperature(exported: ExportedConfig, path: Path) -> float:
    """The export's temperature: with `full` no validation images are left to fit one. Raises TunerError."""
    found = exported.provenance.get("temperature")
    if isinstance(found, bool) or not isinstance(found, int | float) or found <= 0:
        raise TunerError(
            f"{path}: --full leaves no images to calibrate on, and provenance.temperature is {found!r}; export the "
            "trial again, or train without --full"
        )
    return float(found)


def train_seed(config: Mapping[str, Any], task: Task, *, temperature: float | None, watch: Watch | None) -> _Run:
    """Trains one seed. With a `temperature`, it trains on validation images too and calibrates by that temperature."""
    import torch

    from trainers.data.joined import join_validation
    from trainers.job import Job, run_job

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    full = temperature is not None
    job = Job.from_flat([config], read_test=not full)
    events = run_job(job, cache=None, device=device, task=join_validation(task) if full else task)
    while True:
        try:
            progress = next(events)
        except StopIteration as stop:
            trained: Trained = stop.value
            break
        if watch is not None:
            watch(job.stage1.seed, progress)
    head, linear = _only_head(trained)
    if temperature is None:
        return _Run(job.stage1.seed, head.metrics, head.classes["test"], head.temperature, trained, linear)
    measured, classes = _read_test(config, task, trained, linear, temperature)
    norms = {name: value for name, value in head.metrics.items() if name.startswith("norm.")}
    return _Run(job.stage1.seed, {**measured, **norms}, classes, temperature, trained, linear)


def _only_head(trained: Trained) -> tuple[HeadResult, LinearHead]:
    from trainers.results import HeadFailure

    (head,), (linear,) = trained.result.heads, trained.heads
    if isinstance(head, HeadFailure) or linear is None:
        raise TunerError(f"stage 2 failed: {head.reason if isinstance(head, HeadFailure) else 'no head'}")
    return head, linear


def _read_test(
    config: Mapping[str, Any], task: Task, trained: Trained, linear: LinearHead, temperature: float
) -> tuple[Metrics, ClassCounts]:
    """Test figures of a model that was trained on validation images too; groups stay those of the training split."""
    from trainers.files.model_file import LoadedModel
    from trainers.predict import evaluate

    trained.model.classifier.load_state_dict({"weight": linear.weight, "bias": linear.bias})
    model = LoadedModel(trained.model.eval(), describe_trained(config, task, temperature, full=True))
    return evaluate(model, task, device=next(trained.model.parameters()).device)


def describe_trained(
    config: Mapping[str, Any],
    task: Task,
    temperature: float,
    *,
    full: bool,
    precision: ResolvedPrecision | None = None,
) -> ModelCard:
    from trainers.files.model_file import describe_model

    config = {name: portable_value(name, value) for name, value in config.items()}  # others may get the file
    name = str(config["task.model"])
    card = describe_model(task, model=name, temperature=temperature, config=config, precision=precision)
    return dataclasses.replace(card, trained_on=("train", "val") if full else ("train",))


def _write_files(
    output: Path,
    *,
    config: Mapping[str, Any],
    task: Task,
    runs: Sequence[_Run],
    exported: ExportedConfig,
    same_data: bool,
    full: bool,
) -> TrainedExport:
    from trainers.files.model_file import save_model

    first = runs[0]
    card = describe_trained(config, task, first.temperature, full=full, precision=first.precision)
    over = spreads([run.metrics for run in runs])
    text = model_card(card, first.classes, over, seeds=[run.seed for run in runs], task=task, exported=exported)
    with staged(output / _FILES[0]) as draft:
        save_model(draft, first.trained.model, first.head, card)
        metrics = json.dumps(_metrics_json(runs, over, full=full), indent=1)
        draft.with_name(_FILES[1]).write_text(f"{metrics}\n", encoding="utf-8")
        draft.with_name(_FILES[2]).write_text(text, encoding="utf-8")
    model, metrics_file, card_file = (output / name for name in _FILES)
    return TrainedExport(
        model=model,
        metrics_file=metrics_file,
        card=card_file,
        runs=len(runs),
        metrics=over,
        exported=exported,
        same_data=same_data,
        full=full,
    )


def _metrics_json(runs: Sequence[_Run], over: Mapping[str, Spread], *, full: bool) -> dict[str, Any]:
    """The first run's whole result, the metrics of each seed, and their mean and deviation."""
    result = {} if full else dataclasses.asdict(runs[0].trained.result)  # --full trains on validation images
    return {
        **redacted_tree(result),
        "seeds": [{"seed": run.seed, "temperature": run.temperature, "metrics": run.metrics} for run in runs],
        "mean": {name: one.mean for name, one in over.items()},
        "deviation": {name: one.deviation for name, one in over.items()},
    }
