"""The training loop of stage 1: any loss, SGD with momentum, a cosine schedule, weight decay."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import Stage1Config, StepWay, TaskConfig, loss_options
from trainers.data.splits import MemorySplit
from trainers.data.task import Task
from trainers.errors import DivergedError
from trainers.features import extraction_batch
from trainers.losses import Counts, Loss, make_loss
from trainers.measures.metrics import evaluate_logits
from trainers.results import EpochResult, Metrics
from trainers.schedule import learning_rate
from trainers.stage1.cuda_graph import Step
from trainers.stage1.models import Network, build_model, simplex_etf
from trainers.stage1.precision import arithmetic, autocast
from trainers.stage1.random_numbers import OwnDraws
from trainers.stage1.step import PlainStep, Stage1State, classify
from trainers.stage1.step_ways import DEFAULT_WAY, Recorder, make_step
from trainers.turns import Clock, Turn
from trainers.weight_balance import LinearHead, norm_balance, row_norms

GROUPS = ("val.many", "val.medium", "val.few")  # depend on the thresholds, which are not part of a backbone


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
    way: StepWay = DEFAULT_WAY,
    recorder: Recorder | None = None,
) -> Generator[EpochResult, None, None]:
    """Trains `state` to its last epoch; yields after each. Raises DivergedError when loss or weights are not finite.

    `thresholds` are `task.many` and `task.few`, which group validation measures and do not affect training. `way` is
    how a step is computed; `recorder` replaces CUDA graphs in tests.

    Closing the generator at a yield leaves `state` at the end of an epoch, ready to save. `keep_best` restores the
    best epoch on the selection split, as the released code does; otherwise the last epoch counts.
    """
    run = Run(
        state, task, config, device=device, keep_best=keep_best, thresholds=thresholds, way=way, recorder=recorder
    )
    for event in turns(run):
        if isinstance(event, EpochResult):
            yield event


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, and how its steps are computed and its seconds counted."""

    state: Stage1State = field(kw_only=False)
    task: Task = field(kw_only=False)
    config: Stage1Config = field(kw_only=False)
    device: torch.device
    keep_best: bool = False
    thresholds: tuple[int, int] = (TaskConfig.many, TaskConfig.few)
    way: StepWay = DEFAULT_WAY
    recorder: Recorder | None = None
    clock: Clock = time.perf_counter


def turns(run: Run) -> Generator[EpochResult | Turn, None, None]:
    """`train` in turns: also yields wherever another training may continue.

    That is after each step on images in memory; with images that are decoded on the fly, after each epoch alone.
    """
    torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()  # batches have one shape
    state, config, device = run.state, run.config, run.device
    loss_sum = torch.zeros((), device=device)  # stays on the device: no synchronisation inside an epoch
    plain, reweighted = _steps(run, loss_sum)
    takes_turns = isinstance(run.task.train, MemorySplit)  # a loader's processes are as many as this job's threads
    while state.epoch < config.epochs:
        epoch, began = state.epoch, run.clock()
        lr = learning_rate(config, epoch)
        _set_lr(state.optimizer, lr)
        step = reweighted if epoch >= (config.drw or 0.0) * config.epochs else plain
        loss_sum.zero_()
        state.model.train()
        draws = OwnDraws(config.seed, epoch, device)
        for images, labels in _batches(run):
            with draws, arithmetic(config.precision, device):
                step(images, labels)
            if takes_turns:
                yield Turn.STEP
        measured = _is_measured(epoch, config.epochs)
        weight = state.model.classifier.weight.detach().float()  # (C, D)
        logits = _validation_logits(run) if run.keep_best or measured else None
        if device.type == "cuda":
            yield Turn.STEP  # others ask for their kernels before this one waits for its own
        metrics = _training_measures(run, lr, loss_sum.item(), weight.cpu())
        if logits is not None:
            metrics |= _validation_measures(run, logits)
        _remember_best(state, metrics, keep_best=run.keep_best)
        seconds = run.clock() - began
        state.seconds += seconds
        metrics["seconds"] = seconds
        norms = tuple(row_norms(weight.cpu()).tolist()) if measured else ()
        state.history.append(EpochResult(epoch=epoch + 1, metrics=metrics, norms=norms))
        yield state.history[-1]
    if run.keep_best and state.best is not None:
        state.model.load_state_dict(state.best[1])


def _batches(run: Run) -> Iterator[tuple[Tensor, Tensor]]:
    """The training images of an epoch, in a new order and augmented anew."""
    train, generator = run.task.train, run.state.generator
    order = torch.randperm(len(train), generator=generator)
    return train.batches(order, batch_size=run.config.batch_size, device=run.device, generator=generator)


def _training_measures(run: Run, lr: float, loss_sum: float, weight: Tensor) -> Metrics:
    """The measures of an epoch's training. Raises DivergedError if the loss is not finite."""
    balance = norm_balance(weight, run.task.counts)
    loss = loss_sum / len(run.task.train)
    if not math.isfinite(loss):
        raise _diverged(f"the loss is {loss}", run)
    return {"loss": loss, "lr": lr, "norm.cv": balance["cv"], "norm.slope": balance["slope"]}


def _steps(run: Run, loss_sum: Tensor) -> tuple[Step, Step]:
    """A step with the loss before deferred re-weighting, and one with the loss after it."""

    def made(criterion: Loss) -> Step:
        plain = PlainStep(run.state, run.config, criterion.to(loss_sum.device), loss_sum)
        return make_step(run.way, plain, recorder=run.recorder)

    before, after = criteria(run.config, run.task.counts)
    plain = made(before)
    return plain, plain if after is before else made(after)


def make_recordable(optimizer: torch.optim.SGD, device: torch.device) -> None:
    """Gives the optimiser its rate as a tensor at a fixed address, for a recorded step."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], device=device)


def _set_lr(optimizer: torch.optim.SGD, lr: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def _diverged(found: str, run: Run) -> DivergedError:
    return DivergedError(
        f"stage 1: {found} after epoch {run.state.epoch + 1}; lower stage1.lr ({run.config.lr:g}) "
        f"or stage1.weight_decay ({run.config.weight_decay:g})"
    )


def criteria(config: Stage1Config, counts: Counts) -> tuple[Loss, Loss]:
    """The losses before and after deferred re-weighting (Cao et al. 2019); equal without `drw`."""
    loss = make_loss(config.loss, counts, **loss_options(config))
    return (loss, loss) if config.drw is None else (loss.with_class_weights(0.0), loss.with_class_weights(config.beta))


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
def _validation_logits(run: Run) -> Tensor:
    """Logits (N, C) of the validation images."""
    model, device, found = run.state.model.eval(), run.device, []
    for images, _ in run.task.val.batches(None, batch_size=extraction_batch(device), device=device, generator=None):
        with arithmetic(run.config.precision, device), autocast(run.config.precision, device):
            found.append(classify(model, model.features(images), run.config).float())
    return torch.cat(found)


def _validation_measures(run: Run, logits: Tensor) -> Metrics:
    """Accuracy on validation. Raises DivergedError: after a finite loss, a step can still spoil the weights."""
    if not torch.isfinite(logits).all():
        raise _diverged("its output on validation images is no longer finite", run)
    many, few = run.thresholds
    metrics, _ = evaluate_logits(logits, run.task.val.labels, run.task.counts, many=many, few=few, prefix="val")
    return {key: metrics[key] for key in ("val.balanced_accuracy", *GROUPS)}


def _remember_best(state: Stage1State, metrics: Metrics, *, keep_best: bool) -> None:
    value = metrics.get("val.balanced_accuracy")
    if keep_best and value is not None and (state.best is None or value > state.best[0]):
        state.best = (value, {key: tensor.clone() for key, tensor in state.model.state_dict().items()})
