"""The look itself: recognises the form, reads it as a launch does, and cuts it with the settings that suit it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.wording import count
from trainers.errors import ConfigError, DataError
from tuner.execution.slots import Resources, available_cpus, cut_slots, gpu_count
from tuner.survey.space_text import space_text, study_name
from tuner.survey.suggested import CUSTOMARY, Pace, Reasoned, group_settings, space_tree, task_settings
from tuner.survey.survey import Survey, seen_images, survey, with_thresholds

if TYPE_CHECKING:
    import torch

    from trainers.config import DatasetName, TaskConfig, TrialConfig
    from trainers.data.forms import Form
    from trainers.data.pixel_scale import PixelScale
    from trainers.data.pool import Source
    from trainers.data.task import Task

Say = Callable[[str], None]
_BATCHES, _BATCH = 8, 64  # of the measurement of this machine's pace
_SECONDS = 2.0
_IDLE = 0.8  # share of the processors above which the machine counts as idle


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen, and what it was seen with."""

    survey: Survey
    source: Source
    task: Task | None  # None if a launch would refuse the data
    config: TaskConfig
    reasons: Mapping[str, Reasoned]  # of the settings of the task that were not given
    gpu: bool

    @property
    def scale(self) -> PixelScale:
        """How deep pixels become bytes; that of releases without one, if a launch would refuse the data."""
        from trainers.data.pixel_scale import AS_BEFORE

        return self.task.pixel_scale if self.task else AS_BEFORE


def look(path: Path, dataset: str | None, overrides: Sequence[str], *, say: Say) -> Look:
    """Looks at a file or folder; `say` gets a word on what is being done.

    Raises DataError if its form is unknown or nothing of it can be read, SpaceError for an override that is wrong.
    """
    import torch

    from trainers.data.forms import Form, recognised
    from trainers.data.task import read_source

    given = _given(path, dataset or "image-folder", overrides)  # overrides first: they may be wrong
    say("recognising the form")
    named = _named(dataset, overrides, given)
    form = Form(dataset=named, seen="as named by you", place=path) if named else recognised(path)
    given["task.dataset"] = form.dataset
    say(f"reading {form.dataset}")
    try:
        source = read_source(_config(given))
    except DataError as error:
        if named:
            raise
        raise _explained(error, form, path) from error
    say("reading the headers of images")
    images = seen_images(source)
    gpu = torch.cuda.is_available()
    reasons = task_settings(images, source, gpu=gpu)
    reasons = {key: why for key, why in reasons.items() if f"task.{key}" not in given}
    config = _config({**{f"task.{key}": why.value for key, why in reasons.items()}, **given})
    say("cutting the splits, and decoding every image")
    task, refusal = _cut(source, config)
    say("comparing images")
    found = survey(form, source, task, config, images=images, refusal=refusal)
    if task is not None and not {"task.many", "task.few"} & given.keys():
        bounds = group_settings(found)
        reasons |= bounds
        many, few = (bounds[key].value for key in ("many", "few")) if bounds else CUSTOMARY
        found, config = with_thresholds(found, many, few), dataclasses.replace(config, many=many, few=few)
    return Look(survey=found, source=source, task=task, config=config, reasons=reasons, gpu=gpu)


def _given(path: Path, dataset: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The settings that the command line fixes. Raises SpaceError."""
    from search_spaces import loads

    data = json.dumps(str(path), ensure_ascii=False)
    text = f"version: 1\nname: data\ntask: {{dataset: image-folder, data: {data}, imbalance_factor: null}}\n"
    return dict(loads(text, overrides=[f"task.dataset={dataset}", *overrides]).fixed)


def _named(dataset: str | None, overrides: Sequence[str], given: Mapping[str, Any]) -> DatasetName | None:
    asked = dataset is not None or any(text.partition("=")[0].strip() == "task.dataset" for text in overrides)
    found: DatasetName | None = given["task.dataset"] if asked else None
    return found


def _config(given: Mapping[str, Any]) -> TaskConfig:
    from trainers.config import TrialConfig

    return TrialConfig.from_flat(given).task


def _explained(error: DataError, form: Form, path: Path) -> DataError:
    """The reader's refusal, with what the data was taken for."""
    hint = f"; the classes are in {form.place}: give that folder" if form.place != path else ""
    return DataError(f"{error}{hint} (it was read as {form.dataset}: {form.seen}; --dataset names another form)")


def _cut(source: Source, config: TaskConfig) -> tuple[Task | None, str | None]:
    from trainers.data.task import task_of_source

    try:
        return task_of_source(source, config), None
    except (DataError, ConfigError) as error:
        return None, str(error)


def suggested_space(found: Look, target: Path, overrides: Sequence[str], *, say: Say) -> str:
    """The text of the space that suits the data, for a file at `target`. Raises SpaceError for a wrong override."""
    from studies.export.data_path import portable

    if found.task is None:
        raise ValueError("a space is for data that a launch accepts")
    seen = found.survey
    pace = measured_pace(found.task, found.config, say=say)
    data = portable(str(seen.path), folder=target.parent)
    tree, comments = space_tree(
        seen, found.config, found.reasons, name=study_name(target), data=data, pace=pace, gpu=found.gpu
    )
    head = (
        "How much better can these images be recognised, rare classes above all?",
        "",
        f"Written by `tuner data` for {seen.images_of('train'):,} training images of {len(seen.classes):,} classes, "
        f"imbalance factor {seen.imbalance:,.0f}.",
        f"tuner check {target.name} shows the plan; tuner launch --space {target.name} runs it.",
    )
    return space_text(tree, comments, overrides, head=head)


def measured_pace(task: Task, config: TaskConfig, *, say: Say) -> Pace | None:
    """Trains the network for two seconds on noise of the data's shape, in one worker of those that a launch has.

    None if it cannot be trained here, or begins too slowly to be measured. Raises ConfigError for a network that cannot
    take such images.
    """
    import torch

    from trainers.config import TrialConfig

    say(f"measuring how fast {config.model} trains here")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trial, noise = dataclasses.replace(TrialConfig(), task=config), _noise(task)
    slots = cut_slots(Resources(), cpus=available_cpus(), gpus=gpu_count())
    if device.type == "cuda":
        rate, name = _rate(trial, noise, device), torch.cuda.get_device_name(device)
        return None if rate is None else Pace(images_per_second=rate, at_once=max(1, slots.gpus), device=name)
    with _threads(slots.cpus_each):
        began, spent = time.perf_counter(), time.process_time()
        rate = _rate(trial, noise, device)
        had = (time.process_time() - spent) / (time.perf_counter() - began) / slots.cpus_each
    idle = min(1.0, had)  # share of its processors that it had, while other programs ran
    busy = "" if idle > _IDLE else f" (other programs took {100 * (1 - idle):.0f} % of it, which is deducted)"
    words = f"{count(slots.cpus_each, 'CPU thread')}{busy}"
    return None if rate is None else Pace(images_per_second=rate / idle, at_once=slots.workers, device=words)


def _noise(task: Task) -> Task:
    """A few batches of noise in the shape of the task's images, so that nothing is decoded while it is measured."""
    import torch

    from trainers.data.splits import MemorySplit

    images = _BATCHES * _BATCH
    drawn = torch.Generator().manual_seed(0)
    shape = (images, task.channels, task.image_size, task.image_size)
    noise = torch.randint(256, shape, dtype=torch.uint8, generator=drawn)
    labels = torch.arange(images) % task.num_classes
    train = MemorySplit(noise, labels, (task.mean, task.std), task.augment)
    return dataclasses.replace(
        task, train=train, val=MemorySplit(noise[:8], labels[:8], train.normalization, "none"), test=train
    )


def _rate(trial: TrialConfig, task: Task, device: torch.device) -> float | None:
    from trainers.stage1.rates import measured_rates
    from trainers.stage1.step_ways import DEFAULT_WAY

    return measured_rates(trial, device=device, way=DEFAULT_WAY, seconds=_SECONDS, counts=(1,), task=task).get(1)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
