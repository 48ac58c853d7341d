"""The heads of the paper's table: as released, drawn for each part of the method, and the choice for each row."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trainers.config import Stage2Config
from trainers.results import HeadFailure, HeadResult

VALUE = "val.balanced_accuracy"  # of what selects: test images under paper_leak
RELEASED_TAU = 1.9
POSTHOC = ("none", "l2_norm", "tau_norm", "logit_adjustment", "logit_adjustment_mul", "ncm")

# Ranges belong to a loss: the released one, averaged over classes too, is about C times smaller than cross-entropy,
# so it wants more of both (SCIENCE's section on the search gives weight decay; rates follow the losses' scale).
LR = {"cb_bce_softmax": (3e-3, 1.0), "cb_ce": (1e-3, 0.3), "logit_adjusted": (1e-3, 0.3), "ce": (3e-3, 0.3)}
DECAY = {"cb_bce_softmax": (1e-3, 0.5), "cb_ce": (1e-4, 0.2), "logit_adjusted": (1e-4, 0.2), "ce": (1e-5, 1e-2)}
RADIUS = (0.1, 3.0)  # of the median row norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A part of the method, or another one beside it: what is drawn, and what is not there."""

    losses: tuple[str, ...] = ("cb_ce", "cb_bce_softmax")  # in turn
    decay: bool = False
    projection: str | None = None  # None: without MaxNorm
    method: str = "weight_balancing"
    tau: tuple[float, float] | None = None


KINDS = {
    "cb": Kind(),
    "cb_decay": Kind(decay=True),
    "cb_maxnorm": Kind(projection="step"),
    "full_step": Kind(decay=True, projection="step"),
    "full_epoch": Kind(decay=True, projection="epoch"),
    "logit_adjusted": Kind(losses=("logit_adjusted",), decay=True, tau=(0.5, 2.0)),
    "crt": Kind(losses=("ce",), decay=True, method="crt"),
}


def released_heads(protocol: str, seed: int) -> dict[str, Stage2Config]:
    """Stage 2 as released, and its twins with MaxNorm after each step, and without. `paper_leak` chooses the epoch."""
    released = Stage2Config(
        loss="cb_bce_softmax", lr=0.01, weight_decay=0.1, maxnorm_radius=0.1, radius_unit="norm_span",
        projection="epoch", schedule="cosine_ahead", features="replay", seed=seed,
        epoch_rule="best" if protocol == "paper_leak" else "last",
    )  # fmt: skip
    return {
        "released": released,
        "released_step": dataclasses.replace(released, projection="step"),
        "released_no_maxnorm": dataclasses.replace(released, maxnorm_radius=None),
    }


def drawn_heads(count: int, *, seed: int) -> list[tuple[str, Stage2Config]]:
    """`count` random heads of each kind; kinds with the same losses share their draws, number by number."""
    heads = []
    for name, kind in KINDS.items():
        for index in range(count):
            loss = kind.losses[index % len(kind.losses)]
            heads.append((name, _drawn(kind, loss, np.random.default_rng([seed, index]))))
    return heads


def _drawn(kind: Kind, loss: str, rng: np.random.Generator) -> Stage2Config:
    lr, decay, radius = (_log_uniform(rng, *bounds) for bounds in (LR[loss], DECAY[loss], RADIUS))
    settings: dict[str, Any] = {
        "method": kind.method, "loss": loss, "lr": lr, "weight_decay": decay if kind.decay else 0.0,
        "maxnorm_radius": radius if kind.projection else None,
    }  # fmt: skip
    if kind.projection:
        settings["projection"] = kind.projection
    if kind.tau:
        settings["tau"] = float(rng.uniform(*kind.tau))
    return Stage2Config(**settings)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def asked_heads(protocol: str, count: int, *, seed: int) -> list[tuple[str, Stage2Config]]:
    """All heads of a backbone, each with the row of the table that it stands for."""
    drawn = [(row, dataclasses.replace(head, seed=seed)) for row, head in drawn_heads(count, seed=seed)]
    return [*released_heads(protocol, seed).items(), *drawn]


@functools.lru_cache
def asked_digest(protocol: str, count: int, *, seed: int) -> str:
    """Of `asked_heads`."""
    asked = asked_heads(protocol, count, seed=seed)
    return digest([head for _, head in asked], [row for row, _ in asked])


def digest(heads: Iterable[Stage2Config | None], rows: Sequence[str] = ()) -> str:
    """Short: other heads are another piece."""
    plain = [dataclasses.asdict(head) if head else None for head in heads]
    return hashlib.sha256(json.dumps([plain, rows], sort_keys=True).encode()).hexdigest()[:8]


def chosen_rows(stage1: Mapping[str, Any], heads: Mapping[str, Any]) -> dict[str, Stage2Config]:
    """Rows of the table, and the head of each that is best on the selecting split, the first of equals."""
    chosen = {}
    for method in POSTHOC:
        chosen[method] = _best(head for head in stage1["posthoc"] if head["config"]["method"] == method)
    chosen["tau_norm_released"] = dataclasses.replace(chosen["tau_norm"], tau=RELEASED_TAU)
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for head in heads["heads"]:
        if "reason" not in head:
            by_row.setdefault(head["row"], []).append(head)
    return chosen | {row: _best(found) for row, found in by_row.items()}


def _best(heads: Iterable[Mapping[str, Any]]) -> Stage2Config:
    return Stage2Config(**max(heads, key=lambda head: head[VALUE])["config"])


def described(row: str, config: Stage2Config, head: HeadResult | HeadFailure) -> dict[str, Any]:
    """What a line keeps of a trained head."""
    about: dict[str, Any] = {"row": row, "config": dataclasses.asdict(config)}
    if isinstance(head, HeadFailure):
        return about | {"reason": head.reason}
    kept = (VALUE, "norm.slope", "stage2.forgetting", "stage2.projected_at_step1")
    about |= {name: head.metrics[name] for name in kept}
    if config.maxnorm_radius is not None:
        about["projected_by_epoch"] = [epoch.metrics["projected_rows"] for epoch in head.epochs]
    return about


def posthoc_described(heads: Sequence[HeadResult]) -> list[dict[str, Any]]:
    """What a line keeps of the post-hoc grid."""
    names = ("method", "tau", "features", "epochs", "seed")
    configs = [{name: head.config[f"stage2.{name}"] for name in names} for head in heads]
    return [{"config": config, VALUE: head.metrics[VALUE]} for config, head in zip(configs, heads, strict=True)]
