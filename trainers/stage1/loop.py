"""The training loop of stage 1: any loss, SGD with momentum, a cosine schedule, weight decay."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import Stage1Config, TaskConfig, loss_options
from trainers.data.task import Task
from trainers.errors import DivergedError
from trainers.features import extraction_batch
from trainers.losses import Counts, Loss, make_loss
from trainers.measures.metrics import evaluate_logits
from trainers.results import EpochResult, Metrics
from trainers.schedule import learning_rate
from trainers.stage1.cuda_graph import Step, WrapStep, recorded_on_cuda
from trainers.stage1.models import Network, build_model, simplex_etf
from trainers.stage1.precision import autocast
from trainers.stage1.random_numbers import own_draws
from trainers.weight_balance import LinearHead, norm_balance, row_norms

GROUPS = ("val.many", "val.medium", "val.few")  # depend on the thresholds, which are not part of a backbone


@dataclass
class Stage1State:
    """Everything that training needs to resume exactly."""

    model: Network
    optimizer: torch.optim.SGD
    generator: torch.Generator  # order and augmentation draws
    history: list[EpochResult]
    seconds: float = 0.0
    best: tuple[float, dict[str, Tensor]] | None = None  # (value, weights) if the best epoch is kept

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)


def start(task: Task, config: Stage1Config, *, model: str, pretrained: bool, device: torch.device) -> Stage1State:
    """A fresh network, optimiser and generator, all determined by `config.seed`."""
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_model(
            model, task.num_classes, in_channels=task.channels, image_size=task.image_size, pretrained=pretrained
        )
    if config.classifier == "etf":
        _fix_simplex_etf(network, generator)
    network.to(device)
    network.to(memory_format=torch.channels_last)
    # coupled L2 on every trained parameter, including BatchNorm and biases, as released
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(
        trained, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
    )
    if device.type == "cuda":
        make_recordable(optimizer, device)
    return Stage1State(network, optimizer, generator, history=[])


def train(
    state: Stage1State,
    task: Task,
    config: Stage1Config,
    *,
    device: torch.device,
    keep_best: bool = False,
    thresholds: tuple[int, int] = (TaskConfig.many, TaskConfig.few),
    wrap_step: WrapStep = recorded_on_cuda,
) -> Generator[EpochResult, None, None]:
    """Trains `state` to its last epoch; yields after each. Raises DivergedError when loss or weights are not finite.

    `thresholds` are `task.many` and `task.few`, which group validation measures and do not affect training.

    Closing the generator at a yield leaves `state` at the end of an epoch, ready to save. `keep_best` restores the
    best epoch on the selection split, as the released code does; otherwise the last epoch counts.
    """
    torch.backends.cudnn.benchmark = True  # batches have one shape
    model = state.model
    loss_sum = torch.zeros((), device=device)  # stays on the device: no synchronisation inside an epoch
    plain, reweighted = steps(state, config, task.counts, loss_sum, wrap_step)
    while state.epoch < config.epochs:
        epoch, began = state.epoch, time.perf_counter()
        lr = learning_rate(config, epoch)
        _set_lr(state.optimizer, lr)
        step = reweighted if epoch >= (config.drw or 0.0) * config.epochs else plain
        order = torch.randperm(len(task.train), generator=state.generator)
        loss_sum.zero_()
        model.train()
        batches = task.train.batches(order, batch_size=config.batch_size, device=device, generator=state.generator)
        with own_draws(config.seed, epoch, device):
            for images, labels in batches:
                step(images, labels)
        weight = model.classifier.weight.detach().float().cpu()  # (C, D)
        balance = norm_balance(weight, task.counts)
        metrics: Metrics = {"loss": loss_sum.item() / len(task.train), "lr": lr}
        metrics |= {"norm.cv": balance["cv"], "norm.slope": balance["slope"]}
        if not math.isfinite(metrics["loss"] or 0.0):
            raise _diverged(f"the loss is {metrics['loss']}", state, config)
        measured = _is_measured(epoch, config.epochs)
        if keep_best or measured:
            metrics |= _validate(state, task, config, device, thresholds)
        _remember_best(state, metrics, keep_best=keep_best)
        state.seconds += time.perf_counter() - began
        metrics["seconds"] = time.perf_counter() - began
        norms = tuple(row_norms(weight).tolist()) if measured else ()
        state.history.append(EpochResult(epoch=epoch + 1, metrics=metrics, norms=norms))
        yield state.history[-1]
    if keep_best and state.best is not None:
        model.load_state_dict(state.best[1])


def one_step(
    state: Stage1State, config: Stage1Config, criterion: Loss, loss_sum: Tensor, images: Tensor, labels: Tensor
) -> None:
    """One step on a batch (B, C, H, W) with labels (B,); adds its loss times B to `loss_sum`, without synchronising."""
    with autocast(config.precision, images.device):
        features = state.model.features(images)  # (B, D)
        logits = classify(state.model, features, config)  # (B, C)
    loss = criterion(logits.float(), labels)
    if config.feature_regularization:
        loss = loss + config.feature_regularization / 2 * features.float().square().sum(1).mean()
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    loss_sum += loss.detach() * len(labels)


def steps(
    state: Stage1State, config: Stage1Config, counts: Counts, loss_sum: Tensor, wrap_step: WrapStep
) -> tuple[Step, Step]:
    """A step with the loss before deferred re-weighting, and one with the loss after it."""

    def made(criterion: Loss) -> Step:
        step = functools.partial(one_step, state, config, criterion.to(loss_sum.device), loss_sum)
        return wrap_step(step, functools.partial(_changed, state, loss_sum), loss_sum.device)

    before, after = criteria(config, counts)
    plain = made(before)
    return plain, plain if after is before else made(after)


def _changed(state: Stage1State, loss_sum: Tensor) -> dict[str, list[Tensor]]:
    """All tensors that a step changes."""
    return {
        "weights": [*state.model.parameters()],
        "statistics": [*state.model.buffers()],
        "momenta": [entry["momentum_buffer"] for entry in state.optimizer.state.values()],
        "loss": [loss_sum],
    }


def make_recordable(optimizer: torch.optim.SGD, device: torch.device) -> None:
    """Gives the optimiser fixed addresses for a recorded step: the rate as a tensor, momentum from the start.

    Momentum 0 gives the same first step as no momentum: m = mu 0 + g.
    """
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], device=device)
        for parameter in group["params"] if group["momentum"] else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _set_lr(optimizer: torch.optim.SGD, lr: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def _diverged(found: str, state: Stage1State, config: Stage1Config) -> DivergedError:
    return DivergedError(
        f"stage 1: {found} after epoch {state.epoch + 1}; lower stage1.lr ({config.lr:g}) "
        f"or stage1.weight_decay ({config.weight_decay:g})"
    )


def criteria(config: Stage1Config, counts: Counts) -> tuple[Loss, Loss]:
    """The losses before and after deferred re-weighting (Cao et al. 2019); equal without `drw`."""
    loss = make_loss(config.loss, counts, **loss_options(config))
    return (loss, loss) if config.drw is None else (loss.with_class_weights(0.0), loss.with_class_weights(config.beta))


def classify(model: Network, features: Tensor, config: Stage1Config) -> Tensor:
    """Stage-1 logits (B, C): cosines for LDAM (Cao et al. 2019), the linear classifier's for all others."""
    if config.loss == "ldam":
        return F.linear(F.normalize(features), F.normalize(model.classifier.weight))
    logits: Tensor = model.classifier(features)
    return logits


def stage1_head(model: Network, config: Stage1Config) -> LinearHead:
    """The stage-1 classifier as a linear head. LDAM's cosines rank classes as unit rows without bias do."""
    weight = model.classifier.weight.detach().float().cpu()
    if config.loss == "ldam":
        return LinearHead(weight=F.normalize(weight), bias=torch.zeros(len(weight)))
    return LinearHead(weight=weight.clone(), bias=model.classifier.bias.detach().float().cpu().clone())


def _fix_simplex_etf(network: Network, generator: torch.Generator) -> None:
    """Fixes the classifier as a simplex ETF with unit rows (Hasegawa & Sato 2024)."""
    classifier = network.classifier
    with torch.no_grad():
        classifier.weight.copy_(simplex_etf(classifier.out_features, classifier.in_features, generator=generator))
        classifier.bias.zero_()
    classifier.requires_grad_(False)


def _is_measured(epoch: int, epochs: int) -> bool:
    """True about twenty times per run and at the end. It does not affect training, so it is no setting."""
    return epoch + 1 == epochs or (epoch + 1) % max(1, epochs // 20) == 0


@torch.no_grad()
def _validate(
    state: Stage1State, task: Task, config: Stage1Config, device: torch.device, thresholds: tuple[int, int]
) -> Metrics:
    """Accuracy on validation. Raises DivergedError: after a finite loss, a step can still spoil the weights."""
    state.model.eval()
    found = []
    for images, _ in task.val.batches(None, batch_size=extraction_batch(device), device=device, generator=None):
        with autocast(config.precision, device):
            found.append(classify(state.model, state.model.features(images), config).float())
    logits = torch.cat(found)
    if not torch.isfinite(logits).all():
        raise _diverged("its output on validation images is no longer finite", state, config)
    many, few = thresholds
    metrics, _ = evaluate_logits(logits, task.val.labels, task.counts, many=many, few=few, prefix="val")
    return {key: metrics[key] for key in ("val.balanced_accuracy", *GROUPS)}


def _remember_best(state: Stage1State, metrics: Metrics, *, keep_best: bool) -> None:
    value = metrics.get("val.balanced_accuracy")
    if keep_best and value is not None and (state.best is None or value > state.best[0]):
        state.best = (value, {key: tensor.clone() for key, tensor in state.model.state_dict().items()})
