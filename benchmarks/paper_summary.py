"""The tables of the paper's campaign from its lines: mean and deviation over seeds, protocol and n beside each."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from benchmarks.paper_heads import VALUE
from benchmarks.paper_lines import Line

PUBLISHED = {  # the authors' notebooks, per cent, one seed, epoch chosen on test, averaged over image and mirror image
    ("none", 0.0): 40.0, ("none", 5e-3): 47.9, ("l2_norm", 5e-3): 51.0, ("tau_norm_released", 5e-3): 52.6,
    ("released", 5e-3): 53.1,
}  # fmt: skip
GROUPS = ("many", "medium", "few", "balanced_accuracy")
MEASURES = ("many", "medium", "few", "all", "validation, all")
PLAIN = {  # of a setting, what goes without saying
    "dataset": "cifar100-lt", "model": "resnet34", "selection": "seed0", "val_per_class": 20, "precision": "auto",
    "loss": "ce", "drw": None, "classifier": "linear", "feature_regularization": 0.0,
}  # fmt: skip
NAMES = {
    "none": "stage 1 alone", "l2_norm": "L2-norm", "tau_norm": "tau-norm", "tau_norm_released": "tau-norm, tau 1.9",
    "logit_adjustment": "logit adjustment", "logit_adjustment_mul": "logit adjustment, multiplicative",
    "ncm": "nearest class mean", "released": "released stage 2 (MaxNorm per epoch)",
    "released_step": "released, MaxNorm per step", "released_no_maxnorm": "released, no MaxNorm",
    "cb": "CB loss alone", "cb_decay": "CB + weight decay", "cb_maxnorm": "CB + MaxNorm per step",
    "full_step": "CB + weight decay + MaxNorm per step", "full_epoch": "CB + weight decay + MaxNorm per epoch",
    "logit_adjusted": "logit-adjusted loss + weight decay", "crt": "cRT",
}  # fmt: skip

Rows = dict[tuple[str, ...], list[Mapping[str, Any]]]


def summary(lines: Iterable[Line]) -> str:
    """Markdown of the lines that count: accuracies, whether MaxNorm acted, what stage 1 cost, and what failed."""
    by_piece: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_piece["failed" if "failed" in line else line["piece"]].append(line)
    parts = [
        _accuracy(by_piece["rows"]),
        _selected(by_piece["rows"]),
        _final(by_piece["final"]),
        _projections(by_piece["heads"]),
        _costs(by_piece["stage1"]),
        _failures(by_piece["failed"]),
    ]
    return "\n\n".join(part for part in parts if part) or "nothing is done yet"


def setting_text(setting: Mapping[str, Any]) -> str:
    """What lines have in common, in few words: epochs, images, and what is not as usual."""
    unusual = [f"{name} {value}" for name, value in setting.items() if name in PLAIN and value != PLAIN[name]]
    return ", ".join([f"{setting['epochs']} epochs", f"{setting['images']} images ({setting['data']})", *unusual])


def _accuracy(lines: Sequence[Line]) -> str:
    """Test accuracy of every row on every backbone, over seeds."""
    found: Rows = defaultdict(list)
    for line in lines:
        common = (line["protocol"], setting_text(line["setting"]), f"{line['lr']:g}", f"{line['weight_decay']:g}")
        for row, metrics in line["rows"].items():
            if metrics is not None:
                found[(*common, NAMES[row], _published(line, row))].append(metrics)
    head = ["protocol", "setting", "lr", "weight decay", "row", "published", *MEASURES, "n"]
    rows = [[*key, *_measures(metrics, leak=key[0] == "paper_leak")] for key, metrics in found.items()]
    title = "Test accuracy, per cent, mean ± standard deviation over seeds; lr and weight decay are stage 1's:\n\n"
    return title + table(head, rows) if rows else ""


def _selected(lines: Sequence[Line]) -> str:
    """The same with the backbone chosen, too, for each row and seed on validation; naive backbones among themselves."""
    best: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for line in lines:
        for row, metrics in line["rows"].items() if line["protocol"] == "honest" else ():
            if metrics is not None:
                stage1 = "weight decay" if line["weight_decay"] else "naive"
                key = (setting_text(line["setting"]), stage1, NAMES[row], str(line["seed"]))
                if key not in best or metrics[VALUE] > best[key][VALUE]:
                    best[key] = metrics
    found: Rows = defaultdict(list)
    for chosen, metrics in best.items():
        found[chosen[:-1]].append(metrics)
    rows = [[*key, *_measures(metrics, leak=False)] for key, metrics in found.items()]
    title = "Protocol honest, backbone and head chosen on validation, test read once a row and backbone:\n\n"
    return title + table(["setting", "stage 1", "row", *MEASURES, "n"], rows) if rows else ""


def _final(lines: Sequence[Line]) -> str:
    """What honest had chosen, on all images."""
    found: Rows = defaultdict(list)
    for line in lines:
        if line["head"] is not None:
            shown = {name: value for name, value in line["head"]["config"].items() if name != "stage2.seed"}
            common = (setting_text(line["setting"]), f"{line['lr']:g}", f"{line['weight_decay']:g}", NAMES[line["row"]])
            found[(*common, json.dumps(shown))].append(line["head"])
    rows = [[*key[:-1], *_measures(metrics, leak=False)[:4], str(len(metrics))] for key, metrics in found.items()]
    title = (
        "Chosen under honest, trained again on the whole long tail with nothing selected, last epoch, test read once "
        "a seed; other images than those of the rows above, so its own protocol:\n\n"
    )
    return title + table(["setting", "lr", "weight decay", "row", *MEASURES[:4], "n"], rows) if rows else ""


def _published(line: Line, row: str) -> str:
    """The authors' figure, where this is their setting."""
    setting = line["setting"]
    usual = all(setting[name] == value for name, value in PLAIN.items() if name not in ("selection", "precision"))
    theirs = usual and line["protocol"] == "paper_leak" and line["lr"] == 0.01 and setting["epochs"] == 320
    return str(PUBLISHED.get((row, line["weight_decay"]), "")) if theirs else ""


def _measures(metrics: Sequence[Mapping[str, Any]], *, leak: bool) -> list[str]:
    groups = [_percent([m.get(f"test.{group}") for m in metrics]) for group in GROUPS]
    return [*groups, "is test" if leak else _percent([m.get(VALUE) for m in metrics]), str(len(metrics))]


def _projections(lines: Sequence[Line]) -> str:
    """Whether MaxNorm acts: rows of the classifier shrunk at the first step, and over all epochs but the first."""
    rows = []
    for line in lines:
        by_row: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for head in line["heads"]:
            if head["config"]["maxnorm_radius"] is not None:
                by_row[head["row"]].append(head)
        for row, heads in by_row.items():
            alive = [head for head in heads if "reason" not in head]
            if alive:
                rows.append([line["key"], NAMES[row], *_acted(alive), str(len(heads) - len(alive))])
    head = [
        "backbone",
        "heads",
        "with any row projected",
        "rows at step 1",
        "in epoch 1",
        "in later epochs",
        "diverged",
    ]
    return "Does MaxNorm act (rows shrunk, means over heads):\n\n" + table(head, rows) if rows else ""


def _acted(heads: Sequence[Mapping[str, Any]]) -> list[str]:
    epochs = [head["projected_by_epoch"] for head in heads]
    steps = [h["stage2.projected_at_step1"] for h in heads if h["config"]["projection"] == "step"]
    return [
        f"{sum(any(rows) for rows in epochs)} of {len(heads)}",
        f"{fmean(steps):.1f}" if steps else "is not projected then",
        f"{fmean(rows[0] for rows in epochs):.1f}",
        f"{fmean(sum(rows[1:]) for rows in epochs):.1f}",
    ]


def _costs(lines: Sequence[Line]) -> str:
    """Seconds of stage 1."""
    rows = []
    for line in lines:
        seconds, epochs = line["training_seconds"], line["setting"]["epochs"]
        torch = line["versions"].get("torch", "")
        rows.append([line["key"], str(epochs), f"{seconds:.0f}", f"{seconds / epochs:.2f}", line["device"], torch])
    return "Stage 1:\n\n" + table(["backbone", "epochs", "s", "s/epoch", "device", "torch"], rows) if rows else ""


def _failures(lines: Sequence[Line]) -> str:
    rows = [[line["key"], line["piece"], line["failed"]] for line in lines]
    return "Failed, and left out above:\n\n" + table(["backbone", "piece", "reason"], rows) if rows else ""


def _percent(values: Sequence[float | None]) -> str:
    known = [100 * value for value in values if value is not None]
    if not known:
        return "none"
    return f"{fmean(known):.1f}" + (f" ± {stdev(known):.1f}" if len(known) > 1 else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown of rows under their heads."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
