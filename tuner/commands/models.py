"""Commands that use a trained model: evaluate, predict, export-model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tuner.commands.options import JsonOption, number_option, path_argument, path_option, text_option, whole_number
from tuner.terminal.output import say, say_json, screen

if TYPE_CHECKING:
    import torch

    from trainers.files.model_file import LoadedModel


ModelArgument = Annotated[Path, path_argument(help="model.safetensors, as tuner train writes it.")]


_CLIPPED = 0.01  # of an image's values: from here on it is said


class Form(StrEnum):
    """The formats of a model export."""

    TORCH_EXPORT = "torch-export"
    ONNX = "onnx"


def evaluate_model(
    model: ModelArgument,
    data: Annotated[Optional[Path], path_option("--data", help="The data (default: that of the training).")] = None,
    dataset: Annotated[Optional[str], text_option("--dataset", help="Form of the data, if it differs.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on the test split of data: many, medium, few, all, and calibration."""
    from trainers.data.pixel_scale import PixelScale
    from trainers.job import load_task_once
    from trainers.predict import evaluate, task_of
    from tuner.terminal import tables

    loaded = _load_model(model)
    asked = task_of(loaded.card, data=str(data.absolute()) if data else None, dataset=dataset)
    task = load_task_once(asked, PixelScale.of_card(loaded.card.pixel_scale))
    metrics, counts = evaluate(loaded, task, device=_device())
    same = task.fingerprint == loaded.card.data_fingerprint
    if as_json:
        say_json({"metrics": metrics, "images": sum(counts.total), "same_data_as_trained": same}, indent=2)
        return
    screen().print(tables.evaluation_table(metrics, images=sum(counts.total)))
    if not same:
        say("note: these are not the splits that the model was trained with", err=True)


def classify_images(
    model: ModelArgument,
    images: Annotated[list[Path], path_argument(help="Image files, or folders of them.")],
    top: Annotated[
        Optional[int],
        number_option("--top", help="Likeliest classes shown (default: 3; all with --json).", parser=whole_number(1)),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per image.")] = False,
) -> None:
    """Name the class of images, with calibrated probabilities."""
    from trainers.predict import Prediction, image_files, predict
    from tuner.errors import TunerError
    from tuner.terminal import tables

    loaded = _load_model(model)
    paths = image_files(images)
    found: list[Prediction] = []
    for outcome in predict(loaded, paths, device=_device()):
        if not isinstance(outcome, Prediction):
            say(f"error: {outcome.reason}", err=True)
            continue
        if outcome.clipped > _CLIPPED:
            say(
                f"note: {outcome.path}: {outcome.clipped:.0%} of its values lie beyond those of the training images "
                "and are clipped",
                err=True,
            )
        found.append(outcome)
        if as_json:
            say_json(tables.prediction(outcome, loaded.card.class_names, top=top))
    if found and not as_json:
        screen().print(tables.predictions_table(found, loaded.card.class_names, top=top or 3))
    if len(found) < len(paths):
        raise TunerError(f"{len(paths) - len(found)} of {len(paths)} files could not be read; they are named above")


def export_model(
    model: ModelArgument,
    output: Annotated[Path, path_option("--output", "-o", help="File to write.")],
    form: Annotated[Form, typer.Option("--format", help="Which format.")] = Form.TORCH_EXPORT,
) -> None:
    """Write a model for other programs, from pixels in [0, 1] to logits and probabilities, and check its output."""
    from tuner.outputs import staged
    from tuner.retrain.model_export import write_checked

    with staged(output) as draft:
        difference = write_checked(_load_model(model), draft, form=form.value)
    say(f"{output}  (its logits differ from the model's by at most {difference:.1g})")


def _load_model(path: Path) -> LoadedModel:
    """Loads a model. Raises NotThereError if there is no such file, DataError if it is no model."""
    from trainers.files.model_file import load_model
    from tuner.errors import NotThereError

    if not path.exists():
        raise NotThereError(f"{path}: no such model file; `tuner train best.yaml` writes one")
    return load_model(path)


def _device() -> torch.device:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
