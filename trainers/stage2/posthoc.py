"""Classifiers without training, each as a linear head on the same features."""

from __future__ import annotations

import difflib

import torch
from torch import Tensor

from trainers.config import POSTHOC_METHODS, PosthocMethod, Stage2Config
from trainers.errors import ConfigError
from trainers.features import FeatureBank
from trainers.losses import Counts, class_prior
from trainers.weight_balance import LinearHead, tau_normalize

ADJUSTMENTS = ("additive", "multiplicative")
_PLAIN = Stage2Config(features="search")


def adjust_logits(logits: Tensor, counts: Counts, tau: float, kind: str = "additive") -> Tensor:
    """Logits (N, C) corrected for the class prior p.

    `additive`: z - tau ln p (Menon et al. 2021); `multiplicative`: z p^-tau (Hasegawa & Sato 2024). Raises
    ConfigError for another kind, DataError for a class without training images.
    """
    if kind not in ADJUSTMENTS:
        near = difflib.get_close_matches(kind, ADJUSTMENTS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"kind: must be one of {', '.join(ADJUSTMENTS)}, but got {kind!r}{hint}")
    prior = class_prior(counts)
    if kind == "additive":
        return logits - (tau * prior.log()).to(logits)
    return logits * (prior**-tau).to(logits)


def posthoc_head(config: Stage2Config, start: LinearHead, bank: FeatureBank, counts: Counts) -> LinearHead:
    """The head that `config.method` derives from the stage-1 classifier `start`, or (`ncm`) from training features.

    Raises ConfigError for a method that is trained.
    """
    weight, bias, tau = start.weight, start.bias, config.tau
    if config.method == "none":
        return start
    if config.method == "l2_norm":
        return LinearHead(tau_normalize(weight, 1.0), bias)
    if config.method == "tau_norm":
        return LinearHead(tau_normalize(weight, tau), bias)
    if config.method == "logit_adjustment":
        return LinearHead(weight, adjust_logits(bias, counts, tau))
    if config.method == "logit_adjustment_mul":  # (W_k h + b_k) p_k^-tau
        scaled = adjust_logits(weight.T, counts, tau, "multiplicative").T.contiguous()
        return LinearHead(scaled, adjust_logits(bias, counts, tau, "multiplicative"))
    if config.method == "ncm":
        return _nearest_class_mean(bank, len(bias)).to(weight.device)
    raise ConfigError(f"stage2.method: {config.method!r} is trained; post-hoc methods are {', '.join(POSTHOC_METHODS)}")


def posthoc_grid(like: Stage2Config = _PLAIN) -> tuple[Stage2Config, ...]:
    """The post-hoc classifiers of every backbone, the stage-1 classifier (`none`) first; features as in `like`."""

    def named(method: PosthocMethod, tau: float = 1.0) -> Stage2Config:
        return Stage2Config(method=method, tau=tau, features=like.features, epochs=like.epochs, seed=like.seed)

    grid = [named("none"), named("l2_norm")]
    grid += [named("tau_norm", i / 10) for i in range(1, 21) if i != 10]  # 10 is l2_norm
    grid += [named("logit_adjustment", i / 4) for i in range(1, 13)]
    grid += [named("logit_adjustment_mul", i / 10) for i in range(1, 21)]
    return (*grid, named("ncm"))


def _nearest_class_mean(bank: FeatureBank, num_classes: int) -> LinearHead:
    """argmin ||h - mu_k||^2 = argmax 2 mu_k.h - ||mu_k||^2, mu over all views of the training images."""
    sums = torch.zeros(num_classes, bank.train.shape[2], dtype=torch.float64, device=bank.train.device)  # (C, D)
    for view in bank.train:
        sums.index_add_(0, bank.labels, view.double())
    images = torch.bincount(bank.labels, minlength=num_classes) * len(bank.train)
    means = sums / images.clamp_min(1).unsqueeze(1)
    return LinearHead((2 * means).float(), -means.square().sum(1).float())
