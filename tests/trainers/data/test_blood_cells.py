"""A user's own naturally long-tailed data gives the same figures as a folder of images and as parquet."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.data.task import load_task
from trainers.job import Job, run_job
from trainers.results import HeadResult

CELLS = Path(__file__).resolve().parents[4] / "shared" / "data" / "bccd_cells"
pytestmark = pytest.mark.skipif(not CELLS.exists(), reason=f"the blood-cell images are not at {CELLS}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as DIR/{train,test}/<class>/<number>.jpg."""
    root = tmp_path_factory.mktemp("cells")
    for split in ("train", "test"):
        table = pq.read_table(CELLS / f"{split}.parquet")
        names = json.loads(table.schema.metadata[b"class_names"])
        for index, row in enumerate(table.select(["image", "label"]).to_pylist()):
            path = root / split / names[row["label"]] / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["image"])
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


def config(dataset: str, data: Path) -> TaskConfig:
    return TaskConfig(dataset=dataset, data=str(data), imbalance_factor=None)  # type: ignore[arg-type]


def test_folder_and_parquet_are_one_task_and_give_one_result(folder: Path) -> None:
    tasks = [config("image-folder", folder), config("parquet", CELLS)]
    loaded = [load_task(task) for task in tasks]
    assert loaded[0].fingerprint == loaded[1].fingerprint
    assert loaded[0].counts == loaded[1].counts
    assert loaded[0].class_names == loaded[1].class_names
    assert min(loaded[0].counts) == 1
    assert any("Basophil" in note for note in loaded[0].notes)
    first, second = (figures(task) for task in tasks)
    assert first == second
    assert first["test.many"] is not None


def figures(task: TaskConfig) -> dict[str, float | None]:
    """All measures of one short job."""
    stage1 = Stage1Config(epochs=1, precision="fp32")
    job = Job(task=task, stage1=stage1, heads=(Stage2Config(epochs=2),), read_test=True)
    events = run_job(job, cache=None, device=torch.device("cpu"))
    while True:
        try:
            next(events)
        except StopIteration as stop:
            (head,) = stop.value.result.heads
            assert isinstance(head, HeadResult)
            return head.metrics
