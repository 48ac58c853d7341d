"""What a precision is: resolved, held for a whole step, restored afterwards, and told apart in the cache."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch.nn import functional as F

from trainers.config import Precision, Stage1Config, Stage2Config, TaskConfig
from trainers.errors import ConfigError
from trainers.files.model_file import LoadedModel, describe_model
from trainers.job import Job, load_task_once, run_job
from trainers.stage1 import precision as module
from trainers.stage1.backbone import Training
from trainers.stage1.models import build_model
from trainers.stage1.precision import arithmetic, autocast, resolve_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OPERATIONS = ("conv", "rnn", "matmul")
on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
FINGERPRINTS = {  # of the release before `tf32`: caches and studies go on
    ("fp32", "cnn-small"): "e7920b78d0f509d82bf8010126e0cddb950102217920f83ca25aac81fc7bf7ea",
    ("fp32", "resnet32"): "e9c1e139cb88129890936cacbcaf12f872f0806f791a688236182cae753883ad",
    ("bf16", "cnn-small"): "c8e5a6b5b8144bbb8a317dbbe95b5dcb0e26200fd9a23d94cb2a712e16a32e43",
    ("bf16", "resnet32"): "5815ecceded1fdedfda0476db203e8afcfbe551ca39ce6d7849831399bd40be1",
}


def outcome(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RuntimeError:
        return "refused"  # the older and the newer switches disagree


def switches() -> dict[str, Any]:
    """Everything that torch says of its switches."""
    newer = {
        f"{backend}.{name}": _read(backend, name) for backend in ("cuda", "mkldnn") for name in (*OPERATIONS, "all")
    }
    older = {
        "allow_tf32": outcome(lambda: torch.backends.cudnn.allow_tf32),
        "matmul.allow_tf32": outcome(lambda: torch.backends.cuda.matmul.allow_tf32),
        "matmul": outcome(torch.get_float32_matmul_precision),
    }
    return {"generic": _read("generic", "all"), **newer, **older}


def _read(backend: str, operation: str) -> str:
    return cast(str, torch._C._get_fp32_precision_getter(backend, operation))


def _set(backend: str, operation: str, value: str) -> None:
    torch._C._set_fp32_precision_setter(backend, operation, value)


@pytest.fixture(autouse=True)
def torchs_own() -> Iterator[None]:
    """Torch's switches as a process finds them, before and after each test."""
    _reset()
    yield
    _reset()


def _reset() -> None:
    _set("generic", "all", "none")
    for backend in ("cuda", "mkldnn"):
        for operation in ("all", *OPERATIONS):
            _set(backend, operation, "none")
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True


@pytest.fixture
def ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU that has TF32."""
    monkeypatch.setattr(module, "has_tf32", lambda device: device.type == "cuda")


PROCESSES: dict[str, Callable[[], None]] = {
    "torch's own": lambda: None,
    "TF32 in products, by the older switch": lambda: torch.set_float32_matmul_precision("high"),
    "bf16 in products on a CPU": lambda: torch.set_float32_matmul_precision("medium"),
    "TF32 nowhere": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "TF32 in products, by the newer switch": lambda: _set("cuda", "matmul", "tf32"),  # disagrees with the older one
    "TF32 everywhere": lambda: _set("generic", "all", "tf32"),
    "IEEE in convolutions": lambda: _set("cuda", "conv", "ieee"),  # disagrees too
    "TF32 on a CPU": lambda: _set("mkldnn", "all", "tf32"),
}


class TestResolving:
    def test_named_ones_are_themselves(self) -> None:
        assert [resolve_precision(name, CPU) for name in ("fp32", "bf16")] == ["fp32", "bf16"]

    def test_tf32_is_refused_without_it(self) -> None:
        for use in (resolve_precision, autocast):
            with pytest.raises(ConfigError, match=r"stage1\.precision: tf32 needs .* but the device is cpu; take fp32"):
                use("tf32", CPU)
        with pytest.raises(ConfigError, match="tf32 needs"), arithmetic("tf32", CPU):
            pass

    def test_tf32_is_taken_where_it_is(self, ampere: None) -> None:
        assert resolve_precision("tf32", GPU) == "tf32"

    @pytest.mark.parametrize(("bf16", "wanted"), [(True, "bf16"), (False, "fp32")])
    def test_auto_is_bf16_or_ieee(self, bf16: bool, wanted: str, monkeypatch: pytest.MonkeyPatch, ampere: None) -> None:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: bf16)
        assert resolve_precision("auto", GPU) == wanted

    def test_a_trained_model_runs_without_tf32(self) -> None:
        assert [module.usable(name, CPU) for name in ("tf32", "bf16", "auto")] == ["fp32", "bf16", "auto"]

    def test_compute_capability_decides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        for index, capability in enumerate([(7, 5), (8, 0), (9, 0)]):
            monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
            assert module.has_tf32(torch.device("cuda", 40 + index)) == (capability >= (8, 0))


class TestArithmetic:
    @pytest.mark.parametrize("process", PROCESSES)
    @pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "auto"])
    def test_it_holds_and_leaves_no_trace(self, process: str, precision: Precision, ampere: None) -> None:
        PROCESSES[process]()
        before = switches()
        with arithmetic(precision, GPU):
            wanted = ("tf32",) if precision == "tf32" else ("ieee", "none")
            inside = switches()
            assert all(inside[f"cuda.{name}"] in wanted for name in OPERATIONS)
            if "refused" not in before.values():
                assert "refused" not in inside.values()  # torch's compiler reads the older switches
        assert switches() == before

    @pytest.mark.parametrize("process", PROCESSES)
    def test_a_cpu_computes_in_ieee(self, process: str) -> None:
        PROCESSES[process]()
        before = switches()
        with arithmetic("fp32", CPU):
            assert all(switches()[f"mkldnn.{name}"] in ("ieee", "none") for name in OPERATIONS)
        assert switches() == before

    def test_a_cpu_in_its_usual_state_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        changed: list[Any] = []
        monkeypatch.setattr(module, "_set", lambda *values: changed.append(values))
        with arithmetic("auto", CPU), arithmetic("bf16", CPU):
            pass
        assert changed == []

    def test_an_error_leaves_no_trace(self, ampere: None) -> None:
        before = switches()
        with contextlib.suppress(ZeroDivisionError), arithmetic("fp32", GPU), arithmetic("tf32", GPU):
            raise ZeroDivisionError
        assert switches() == before

    def test_the_inner_block_rules_within_the_outer(self, ampere: None) -> None:
        seen = []
        with arithmetic("tf32", GPU):
            seen.append(switches())
            with arithmetic("fp32", GPU):
                seen.append(switches())
            seen.append(switches())
        assert [found["cuda.conv"] for found in seen] == ["tf32", "ieee", "tf32"]
        assert seen[0] == seen[2]

    def test_jobs_that_take_turns_have_each_its_own(self, ampere: None) -> None:
        def job(precision: Precision) -> Iterator[str]:
            for _ in range(3):
                with arithmetic(precision, GPU):
                    found = _read("cuda", "conv")
                yield found

        before, jobs = switches(), [job("fp32"), job("tf32"), job("bf16")]
        turns = [tuple(next(one) for one in jobs) for _ in range(3)]
        jobs[0].close()
        assert turns == [("ieee", "tf32", "ieee")] * 3
        assert switches() == before

    @pytest.mark.parametrize("precision", [pytest.param("fp32", marks=on_gpu), pytest.param("tf32", marks=on_gpu)])
    def test_a_gpu_rounds_as_it_is_told(self, precision: Precision) -> None:
        generator = torch.Generator().manual_seed(0)
        images, kernel = (torch.randn(shape, generator=generator) for shape in ((8, 64, 16, 16), (64, 64, 3, 3)))
        exact = F.conv2d(images.double(), kernel.double(), padding=1)
        with arithmetic(precision, GPU):
            weight = kernel.to(GPU).requires_grad_()
            found = F.conv2d(images.to(GPU), weight, padding=1)
            found.sum().backward()
        apart = float((found.detach().cpu() - exact).norm() / exact.norm())
        assert apart < 1e-6 if precision == "fp32" else 1e-5 < apart < 1e-2


class TestFingerprint:
    @pytest.mark.parametrize("device", [CPU, GPU])
    @pytest.mark.parametrize(("precision", "model"), FINGERPRINTS)
    def test_those_of_earlier_releases_stay(
        self, device: torch.device, precision: Precision, model: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "has_tf32", lambda device: False)  # a CPU, or a GPU whose fp32 has always been IEEE
        assert fingerprint(precision, model, device) == FINGERPRINTS[precision, model]

    def test_fp32_of_earlier_releases_was_tf32_on_a_gpu_and_is_not_found(self, ampere: None) -> None:
        known = FINGERPRINTS["fp32", "cnn-small"]
        found = {precision: fingerprint(precision, "cnn-small", GPU) for precision in ("fp32", "tf32", "bf16")}
        assert known not in found.values()
        assert len(set(found.values())) == 3
        assert found["bf16"] == FINGERPRINTS["bf16", "cnn-small"]

    def test_tf32_without_a_gpu_is_refused_before_any_training(self) -> None:
        job = Job(task=TaskConfig(), stage1=Stage1Config(precision="tf32"), heads=(Stage2Config(method="none"),))
        with pytest.raises(ConfigError, match="tf32 needs"):
            next(run_job(job, cache=None, device=CPU))


def fingerprint(precision: Precision, model: str, device: torch.device) -> str:
    config, stage1 = TaskConfig(), Stage1Config(precision=precision)
    if model == "resnet32":
        config = TaskConfig(protocol="paper_leak", model=model)
        stage1 = Stage1Config(precision=precision, loss="ldam", drw=0.5, seed=3)
    task = cast(Any, SimpleNamespace(fingerprint="d" * 64))
    return Training(config=config, stage1=stage1, task=task, device=device).fingerprint


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_a_result_says_what_auto_became(precision: Precision) -> None:
    stage1 = Stage1Config(epochs=1, precision=precision)
    events = run_job(
        Job(task=TaskConfig(), stage1=stage1, heads=(Stage2Config(method="none"),)), cache=None, device=CPU
    )
    while True:
        try:
            next(events)
        except StopIteration as end:
            trained = end.value
            break
    assert trained.result.backbone.precision == resolve_precision(precision, CPU)


def test_a_model_trained_in_tf32_answers_on_a_cpu() -> None:
    task = load_task_once(TaskConfig())
    network = build_model("cnn-small", task.num_classes, in_channels=task.channels, image_size=task.image_size).eval()
    images = torch.zeros(2, task.channels, task.image_size, task.image_size)
    answers = [
        LoadedModel(
            network, describe_model(task, model="cnn-small", temperature=1.0, config={"stage1.precision": name})
        ).logits(images)
        for name in ("tf32", "fp32")
    ]
    assert torch.equal(*answers)
