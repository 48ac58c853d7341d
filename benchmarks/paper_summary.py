"""The tables of the paper's campaign from its lines: mean and deviation over seeds, protocol and n beside each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

PUBLISHED = {  # the authors' notebooks, per cent, one seed, epoch chosen on test, averaged over image and mirror image
    ("none", 0.0): 40.0, ("none", 5e-3): 47.9, ("l2_norm", 5e-3): 51.0, ("tau_norm", 5e-3): 52.6,
    ("released", 5e-3): 53.1,
}  # fmt: skip
GROUPS = ("many", "medium", "few", "balanced_accuracy")
MEASURES = ("many", "medium", "few", "all", "validation, all")
VALUE = "val.balanced_accuracy"

Line = Mapping[str, Any]


def summary(lines: Iterable[Line]) -> str:
    """Markdown: accuracy of each row, whether MaxNorm acted, and what stage 1 cost."""
    by_piece: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_piece[line["piece"]].append(line)
    parts = [
        _accuracy(by_piece["rows"]),
        _selected(by_piece["rows"]),
        _projections(by_piece["heads"]),
        _costs(by_piece["stage1"]),
    ]
    return "\n\n".join(part for part in parts if part) or "nothing is done yet"


def _accuracy(lines: Sequence[Line]) -> str:
    """Test accuracy of every row on every backbone, over seeds."""
    found: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in lines:
        for row, metrics in line["rows"].items():
            if metrics is not None:
                setting = (line["protocol"], f"{line['lr']:g}", f"{line['weight_decay']:g}", str(line["epochs"]), row)
                found[(*setting, _published(line, row))].append(metrics)
    head = ["protocol", "lr", "weight decay", "epochs", "row", "published", *MEASURES, "n"]
    rows = [[*key, *_measures(metrics, leak=key[0] == "paper_leak")] for key, metrics in found.items()]
    title = "Test accuracy, per cent, mean ± standard deviation over seeds; lr and weight decay are stage 1's:\n\n"
    return title + _table(head, rows) if rows else ""


def _selected(lines: Sequence[Line]) -> str:
    """The same with the backbone chosen, too: for each row and seed the one that is best on validation."""
    best: dict[tuple[str, int], Line] = {}
    for line in lines:
        for row, metrics in line["rows"].items() if line["protocol"] == "honest" else ():
            if metrics is not None:
                known = best.get((row, line["seed"]))
                if known is None or metrics[VALUE] > known[VALUE]:
                    best[row, line["seed"]] = metrics
    found: dict[str, list[Line]] = defaultdict(list)
    for (row, _), metrics in sorted(best.items()):
        found[row].append(metrics)
    rows = [[row, *_measures(metrics, leak=False)] for row, metrics in found.items()]
    title = "Protocol honest, backbone and head chosen on validation, test read once a row and backbone:\n\n"
    return title + _table(["row", *MEASURES, "n"], rows) if rows else ""


def _published(line: Line, row: str) -> str:
    """The authors' figure, where this is their setting."""
    theirs = line["dataset"] == "cifar100-lt" and line["protocol"] == "paper_leak" and line["lr"] == 0.01
    return str(PUBLISHED.get((row, line["weight_decay"]), "")) if theirs else ""


def _measures(metrics: Sequence[Line], *, leak: bool) -> list[str]:
    groups = [_percent([m.get(f"test.{group}") for m in metrics]) for group in GROUPS]
    return [*groups, "is test" if leak else _percent([m.get(VALUE) for m in metrics]), str(len(metrics))]


def _projections(lines: Sequence[Line]) -> str:
    """Whether MaxNorm acts: rows of the classifier shrunk at the first step, and over all epochs."""
    rows = []
    for line in lines:
        released, *drawn = line["heads"]
        kinds = {"released": [released]}
        kinds |= {f"drawn, per {p}": [h for h in drawn if h["config"]["projection"] == p] for p in ("step", "epoch")}
        for kind, heads in kinds.items():
            alive = [head for head in heads if "reason" not in head]
            if alive:
                acted = sum(head["projected_rows"] > 0 for head in alive)
                first = fmean(head["projected_at_step1"] for head in alive)
                after = fmean(sum(head["projected_by_epoch"][1:]) for head in alive)
                lost = len(heads) - len(alive)
                rows.append(
                    [line["backbone"], kind, f"{acted} of {len(alive)}", f"{first:.1f}", f"{after:.1f}", str(lost)]
                )
    if not rows:
        return ""
    head = ["backbone", "heads", "with any row projected", "rows at step 1", "rows after the first epoch", "diverged"]
    return "Does MaxNorm act (means over heads):\n\n" + _table(head, rows)


def _costs(lines: Sequence[Line]) -> str:
    """Seconds of stage 1."""
    rows = []
    for line in lines:
        seconds, epochs = line["training_seconds"], line["epochs"]
        torch = line["versions"].get("torch", "")
        rows.append([line["backbone"], str(epochs), f"{seconds:.0f}", f"{seconds / epochs:.2f}", line["device"], torch])
    return "Stage 1:\n\n" + _table(["backbone", "epochs", "s", "s/epoch", "device", "torch"], rows) if rows else ""


def _percent(values: Sequence[float | None]) -> str:
    known = [100 * value for value in values if value is not None]
    if not known:
        return "none"
    return f"{fmean(known):.1f}" + (f" ± {stdev(known):.1f}" if len(known) > 1 else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
