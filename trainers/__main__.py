"""`python -m trainers stage1.lr=0.1 stage2.weight_decay=0.02` runs one trial and prints JSON lines."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import get_args

import torch

from trainers.config import FLAT_NAMES, Scalar, StepWay, TrialConfig
from trainers.errors import TrainerError
from trainers.files.cache import Cache
from trainers.job import Job, run_job
from trainers.stage1.step_ways import DEFAULT_WAY


def main(arguments: list[str] | None = None) -> int:
    """Runs one trial; returns 0, 1 when it failed, or 2 when the settings are wrong."""
    parser = argparse.ArgumentParser(prog="python -m trainers", description=__doc__, epilog=f"names: {FLAT_NAMES}")
    parser.add_argument("settings", nargs="*", metavar="name=value", help="e.g. stage1.lr=0.1 task.model=resnet20")
    parser.add_argument("--test", action="store_true", help="read the test split too (once, at the end)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--step", choices=get_args(StepWay), default=DEFAULT_WAY, help="how a step is computed")
    parser.add_argument("--cache", type=Path, help="folder that keeps backbones and features")
    options = parser.parse_args(arguments)
    try:
        config = TrialConfig.from_flat(dict(_parse_setting(text) for text in options.settings))
        device = torch.device(options.device)
    except (TrainerError, ValueError, RuntimeError) as error:  # RuntimeError: no such device
        _say(error)
        return 2
    job = Job(task=config.task, stage1=config.stage1, heads=(config.stage2,), read_test=options.test)
    _emit({"event": "start", "device": options.device, "torch": torch.__version__, "config": config.to_flat()})
    try:
        cache = Cache(options.cache) if options.cache else None
        events = run_job(job, cache=cache, device=device, way=options.step)
        while True:
            try:
                _emit({"event": "epoch", **dataclasses.asdict(next(events))})
            except StopIteration as stop:
                _emit({"event": "result", **dataclasses.asdict(stop.value.result)})
                return 0
    except TrainerError as error:
        _emit({"event": "error", "reason": str(error)})
        _say(error)
        return 1


def _parse_setting(text: str) -> tuple[str, Scalar]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r}: a setting is written name=value, e.g. stage1.lr=0.1")
    try:
        parsed: Scalar = json.loads(value)
    except json.JSONDecodeError:
        parsed = value
    return name, parsed


def _say(error: Exception) -> None:
    """Prints an error on one line and escapes control characters."""
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(error))
    print(f"error: {text}", file=sys.stderr)


def _emit(event: dict[str, object]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    sys.exit(main())
