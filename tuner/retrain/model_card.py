"""The model card: what a trained model is, its data, its figures and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from studies.applicable import applies
from studies.export.provenance import code_version, library_versions
from studies.export.read import ExportedConfig
from studies.findings.intervals import Interval, group_of, group_recalls
from studies.findings.spread import Spread
from studies.records import ClassRow
from studies.report.markdown import code, escape
from studies.report.redaction import without_folders
from studies.wording import limits, mean_and_deviation, method_label, number, per_cent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainers.data.task import Task
    from trainers.files.model_file import ModelCard
    from trainers.results import ClassCounts

_CLASSES = 40  # listed at most; of more classes, the largest and the smallest


def model_card(
    card: ModelCard,
    classes: ClassCounts,
    metrics: Mapping[str, Spread],
    *,
    seeds: Sequence[int],
    task: Task,
    exported: ExportedConfig,
) -> str:
    """The card as Markdown. `classes` counts the test images of the first seed, whose model is kept."""
    parts = [
        f"# {escape(card.model)} on {escape(card.config['task.dataset'])}",
        _model_section(card, exported),
        _data_section(card, task),
        _protocol_section(card, exported, seeds),
        _figures_section(card, classes, metrics, seeds),
        _calibration_section(card, metrics),
        _limits_section(card),
        _made_with(exported),
    ]
    return "\n\n".join(parts) + "\n"


def _model_section(card: ModelCard, exported: ExportedConfig) -> str:
    return (
        f"An image classifier for {len(card.class_names)} classes: network {code(card.model)}, images of "
        f"{card.image_size}x{card.image_size} pixels and {card.channels} channel(s). Features were learnt with "
        f"{code(card.config['stage1.loss'])} and weight decay {escape(card.config['stage1.weight_decay'])}"
        f"{f', computed in {card.precision}' if card.precision else ''}; the "
        f"classifier is {_classifier(card)}.{_origin(exported)}\n\n```sh\ntuner predict model.safetensors IMAGE...\n```"
    )


def _classifier(card: ModelCard) -> str:
    """The stage-2 method, with the settings that it uses."""
    names = ("stage2.loss", "stage2.weight_decay", "stage2.maxnorm_radius", "stage2.radius_unit", "stage2.tau")
    told = [f"{name} {escape(number(card.config[name], digits=6))}" for name in names if applies(name, card.config)]
    settings = f" ({', '.join(told)})" if told else ""
    return f"{escape(method_label(card.config['stage2.method']))}{settings}"


def _origin(exported: ExportedConfig) -> str:
    study, trial = exported.provenance.get("study"), exported.provenance.get("trial")
    if not study:
        return ""
    baseline = exported.provenance.get("baseline")
    which = f"trial {escape(trial)}" if trial is not None else f"baseline {escape(baseline)}"
    return f" The configuration is {which} of study {code(study)}."


def _data_section(card: ModelCard, task: Task) -> str:
    thresholds = _thresholds(card)
    ranked = sorted(zip(card.class_names, task.counts, strict=True), key=lambda pair: -pair[1])
    shown = ranked if len(ranked) <= _CLASSES else [*ranked[: _CLASSES // 2], *ranked[-_CLASSES // 2 :]]
    rows = [f"| {escape(name)} | {count} | {group_of(count, thresholds)} |" for name, count in shown]
    left_out = len(ranked) - len(shown)
    more = f"\n\n{left_out} classes of middle size are left out." if left_out else ""
    splits = f"{len(task.train)} training, {len(task.val)} validation and {len(task.test)} test images"
    trained = "; trained on the first two" if "val" in card.trained_on else ""
    known = f"Fingerprint {code(card.data_fingerprint)}"
    return (
        f"## Data\n\n{code(card.config['task.dataset'])}: {splits}{trained}. {known}.\n\n"
        "| class | images of the training split | group |\n|---|---|---|\n" + "\n".join(rows) + more
    ) + _notes(card, task)


def _notes(card: ModelCard, task: Task) -> str:
    """What was said of the data, such as images that were left out; without folders of this machine."""
    data = card.config.get("task.data")
    where = [data] if isinstance(data, str) else []
    told = [f"- {escape(without_folders(note, where))}" for note in task.notes]
    return "\n\n" + "\n".join(told) if told else ""


def _protocol_section(card: ModelCard, exported: ExportedConfig, seeds: Sequence[int]) -> str:
    chosen = exported.provenance.get("selected_by", {})
    how = (
        f"Chosen by {code(chosen.get('metric'))} on {escape(chosen.get('split'))} among {escape(chosen.get('among'))} "
        f"trials ({escape(chosen.get('rule'))})."
        if chosen
        else "How the configuration was chosen is not on record."
    )
    how += _over_seeds(exported)
    read = f"Test images were read once for each of {len(seeds)} seeds, after training." if len(seeds) > 1 else (
        "Test images were read once, after training."
    )  # fmt: skip
    kept = f" Seeds {', '.join(map(str, seeds))}; the model kept is that of seed {seeds[0]}, whichever was best."
    return f"## Protocol\n\nProtocol {code(card.config['task.protocol'])}. {how} {read}{kept if len(seeds) > 1 else ''}"


def _over_seeds(exported: ExportedConfig) -> str:
    """The figure of the choice, if it was by the mean over seeds and an export of any origin says it in fractions."""
    found = exported.provenance.get("over_seeds", {})
    known = [found.get(name) for name in ("mean", "deviation", "run_of_the_search")]
    mean, deviation, single = (value if isinstance(value, float) and 0 <= value <= 1 else None for value in known)
    if mean is None or deviation is None or single is None or not isinstance(found.get("seeds"), list):
        return ""
    seeds = ", ".join(escape(seed) for seed in found["seeds"])
    return (
        f" Over seeds {seeds} it reached {mean_and_deviation(mean, deviation)} on {escape(found.get('split'))} "
        f"(mean ± deviation); the run by which the search found it had {per_cent(single)}."
    )


def _figures_section(card: ModelCard, classes: ClassCounts, metrics: Mapping[str, Spread], seeds: Sequence[int]) -> str:
    rows = [
        ClassRow(class_index=k, split="test", train_count=n, correct=hits, total=images, weight_norm=0.0)
        for k, (n, hits, images) in enumerate(zip(card.train_counts, classes.correct, classes.total, strict=True))
    ]
    known = group_recalls(rows, _thresholds(card))
    over = f" | mean ± deviation over {len(seeds)} seeds" if len(seeds) > 1 else ""
    head = f"| classes | accuracy | 95 % interval{over} |\n|---|---|---|{'---|' if over else ''}"
    body = [
        f"| {name} | {_accuracy_cell(known[name])} | {_interval_cell(known[name])}"
        f"{_spread_cell(metrics, name) if over else ''} |"
        for name in ("all", "many", "medium", "few")
    ]
    many, few = _thresholds(card)
    return (
        "## Figures on test images\n\n" + "\n".join([head, *body]) + "\n\nThe mean of the classes' recalls. Many: more "
        f"than {many} training images; few: fewer than {few}. Intervals are from the number of test images alone."
    )


def _calibration_section(card: ModelCard, metrics: Mapping[str, Spread]) -> str:
    fitted = (
        "taken from the export, because this model was trained on the validation images it is fitted on"
        if "val" in card.trained_on
        else "fitted on validation images"
    )
    before, after = metrics.get("test.ece"), metrics.get("test.ece_calibrated")
    told = f" Expected calibration error on test: {per_cent(before.mean)} before, {per_cent(after.mean)} after." if (
        before and after
    ) else ""  # fmt: skip
    return (
        f"## Calibration\n\nProbabilities are softmax(logits / {card.temperature:.4g}); the temperature was {fitted}."
        f"{told}"
    )


def _limits_section(card: ModelCard) -> str:
    told = [
        "It knows these classes only and gives one of them for any image.",
        "Probabilities are calibrated for balanced validation images where the protocol makes them so; where classes "
        "come in other shares, correct for that.",
        f"Images are scaled to {card.image_size}x{card.image_size} pixels; what is smaller is not seen.",
    ]
    for kind, (black, white) in (card.pixel_scale or {}).items():
        told.append(
            f"Images of more than 8 bits ({kind}) are scaled from {black:g}..{white:g}, as the training images "
            "were; an exported model wants pixels from 0 to 1, so divide by the same."
        )
    if min(card.train_counts) < _thresholds(card)[1]:
        told.append("Classes with few images were learnt, and are measured, with little certainty.")
    if card.config["task.protocol"] == "paper_leak":
        told.append("Selection was on test images (protocol paper_leak): the figures are not honest test results.")
    if card.config["stage2.features"] == "replay":
        told.append("Stage 2 moved BatchNorm's statistics (features: replay), which this file has as stage 1 left.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in told)


def _made_with(exported: ExportedConfig) -> str:
    found = {**library_versions(), "tuner": code_version()["package"]}
    created = exported.provenance.get("created")
    versions = ", ".join(f"{name} {escape(number)}" for name, number in found.items())
    return f"Made with {versions}" + (f"; configuration exported {escape(created)}." if created else ".")


def _thresholds(card: ModelCard) -> tuple[int, int]:
    many, few = card.config["task.many"], card.config["task.few"]
    return int(many or 0), int(few or 0)


def _accuracy_cell(interval: Interval | None) -> str:
    return per_cent(interval.value if interval else None)


def _interval_cell(interval: Interval | None) -> str:
    return limits(interval.low, interval.high) if interval else "none"


def _spread_cell(metrics: Mapping[str, Spread], group: str) -> str:
    found = metrics.get(f"test.{'balanced_accuracy' if group == 'all' else group}")
    if found is None or found.deviation is None:
        return " | none"
    return f" | {mean_and_deviation(*found)}"
