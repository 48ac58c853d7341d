"""Commands that use a trained model: evaluate, predict, export-model."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console

from tuner.commands.options import JsonOption, print_json

if TYPE_CHECKING:
    import torch

    from trainers.model_file import LoadedModel

app = typer.Typer()

ModelArgument = Annotated[Path, typer.Argument(help="model.safetensors, as tuner train writes it.", show_default=False)]


class Form(StrEnum):
    """What a model can be exported to."""

    TORCH_EXPORT = "torch-export"
    ONNX = "onnx"


@app.command()
def evaluate(
    model: ModelArgument,
    data: Annotated[Optional[Path], typer.Option("--data", help="The data (default: where it was trained).")] = None,
    dataset: Annotated[Optional[str], typer.Option("--dataset", help="Form of the data, if another one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on the test split of data: many, medium, few, all, and calibration."""
    from trainers.job import load_task_once
    from trainers.predict import evaluate as measure
    from trainers.predict import task_of
    from tuner import views

    loaded = _load(model)
    task = load_task_once(task_of(loaded.card, data=str(data.absolute()) if data else None, dataset=dataset))
    metrics, counts = measure(loaded, task, device=_device())
    same = task.fingerprint == loaded.card.data_fingerprint
    if as_json:
        print_json({"metrics": metrics, "images": sum(counts.total), "same_data_as_trained": same})
        return
    Console().print(views.evaluation_table(metrics, images=sum(counts.total)))
    if not same:
        typer.echo("note: these are not the splits that the model was trained with", err=True)


@app.command()
def predict(
    model: ModelArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    top: Annotated[
        Optional[int], typer.Option("--top", min=1, help="Likeliest classes shown [default: 3; all with --json].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line and image.")] = False,
) -> None:
    """Name the class of images, with calibrated probabilities."""
    from trainers.predict import Prediction, image_files
    from trainers.predict import predict as look
    from tuner import views
    from tuner.errors import TunerError

    loaded = _load(model)
    paths = image_files(images)
    found: list[Prediction] = []
    for outcome in look(loaded, paths, device=_device()):
        if not isinstance(outcome, Prediction):
            typer.echo(f"error: {outcome.reason}", err=True)
            continue
        found.append(outcome)
        if as_json:
            typer.echo(json.dumps(views.prediction(outcome, loaded.card.class_names, top=top), ensure_ascii=False))
    if found and not as_json:
        Console().print(views.predictions_table(found, loaded.card.class_names, top=top or 3))
    if len(found) < len(paths):
        raise TunerError(f"{len(paths) - len(found)} of {len(paths)} files could not be read; they are named above")


@app.command()
def export_model(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", show_default=False)],
    form: Annotated[Form, typer.Option("--format", help="Which format.")] = Form.TORCH_EXPORT,
) -> None:
    """Write a model for other programs, from pixels in [0, 1] to logits and probabilities; checked by running it."""
    from tuner.model_export import export_model as write

    difference = write(_load(model), output, form=form.value)
    typer.echo(f"{output}  (its logits differ from the model's by at most {difference:.1g})")


def _load(path: Path) -> LoadedModel:
    """Raises NotThereError where there is no file, DataError where it is no model."""
    from trainers.model_file import load_model
    from tuner.errors import NotThereError

    if not path.exists():
        raise NotThereError(f"{path}: no such model file; `tuner train best.yaml` writes one")
    return load_model(path)


def _device() -> torch.device:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
