from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from benchmarks import paper_campaign, paper_table
from benchmarks.paper_backbones import Backbone, toy_scale
from benchmarks.paper_campaign import Campaign, MinutesOverError, TooFewMinutesError, hashed
from benchmarks.paper_heads import RELEASED_TAU
from benchmarks.paper_lines import current, read_lines
from benchmarks.paper_summary import NAMES
from trainers.config import Stage1Config
from trainers.files.cache import Cache

ROOT = Path(__file__).parents[2]
HONEST = Backbone.of("honest", toy_scale().task, Stage1Config(epochs=3, lr=0.01))


@pytest.fixture(scope="module", autouse=True)
def on_the_processor() -> Iterator[None]:
    """Where the same training gives the same weights; tests of a GPU are in test_on_gpu.py."""
    with pytest.MonkeyPatch.context() as context:
        context.setattr(torch.cuda, "is_available", lambda: False)
        yield


def _run(folder: Path, *arguments: str) -> int:
    where = ["--out", str(folder / "out"), "--cache", str(folder / "cache")]
    return paper_table.main(["--toy", "--seed", "0", "--weight-decay", "5e-3", *where, *arguments])


def _pieces(folder: Path) -> list[tuple[str, str]]:
    return [(line["protocol"], line["piece"]) for line in read_lines(folder / "out")]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished honest backbone; to be copied by whoever changes it."""
    folder = tmp_path_factory.mktemp("done")
    assert _run(folder, "--protocol", "honest") == 0
    return folder


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    shutil.copytree(done, tmp_path / "copy")
    return tmp_path / "copy"


def test_all_pieces_at_toy_scale_are_done_once_and_summed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path) == 0
    lines = read_lines(tmp_path / "out")
    assert _pieces(tmp_path) == [
        *(("paper_leak", piece) for piece in ("stage1", "heads", "rows")),
        *(("honest", piece) for piece in ("stage1", "heads", "rows", "pack")),
    ]
    said = capsys.readouterr().out
    assert all(f"| {name} |" in said for name in NAMES.values())
    assert "Protocol honest, backbone and head chosen on validation" in said
    assert "53.1" not in said  # the published figures are not these images'
    assert _run(tmp_path) == 0
    assert read_lines(tmp_path / "out") == lines
    rows = next(line["rows"] for line in lines if line["piece"] == "rows")
    assert rows["tau_norm_released"]["config"]["stage2.tau"] == RELEASED_TAU


def test_lines_are_json_with_hardware_and_versions(done: Path) -> None:
    for text in (done / "out" / "lines.jsonl").read_text().splitlines():
        assert {"hardware", "versions", "date", "seed", "protocol", "setting", "weights"} <= json.loads(text).keys()


def test_out_of_time_it_goes_on_from_its_checkpoint(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10_000))
    with monkeypatch.context() as context:
        # a second passes at each look at the clock: of six, stage 1 gets as far as its second epoch
        context.setattr(paper_campaign.time, "monotonic", lambda: float(next(clock)))
        assert _run(tmp_path, "--protocol", "honest", "--minutes", "0.1") == 75
    assert not (tmp_path / "out" / "lines.jsonl").exists()
    assert list((tmp_path / "cache").glob("*/checkpoint*"))
    assert _run(tmp_path, "--protocol", "honest") == 0
    again, whole = ({line["piece"]: line for line in read_lines(folder / "out")} for folder in (tmp_path, done))
    assert again["stage1"]["weights"] == whole["stage1"]["weights"]
    assert again["stage1"]["curve"] == whole["stage1"]["curve"]
    assert again["rows"]["rows"] == whole["rows"]["rows"]


def test_a_line_that_a_kill_cut_short_is_done_again(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / "out" / "lines.jsonl"
    path.write_text(path.read_text()[:-40])
    assert _run(copied, "--protocol", "honest") == 0
    assert [piece for _, piece in _pieces(copied)] == ["stage1", "heads", "rows", "pack"]
    assert "cut short" in capsys.readouterr().err


@pytest.mark.parametrize(
    "other",
    [
        ("--epochs", "2"),
        ("--loss", "logit_adjusted"),
        ("--drw", "0.5"),
        ("--classifier", "etf"),
        ("--feature-regularization", "0.01"),
        ("--selection", "first_n"),
        ("--val-per-class", "10"),
        ("--lr", "0.02"),
    ],
    ids=lambda other: other[0],
)
def test_what_determines_a_piece_is_in_its_key(
    done: Path, other: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(done, "--protocol", "honest", "--list") == 0
    assert "due" not in capsys.readouterr().out
    assert _run(done, "--protocol", "honest", "--list", *other) == 0
    assert capsys.readouterr().out.count(": due, about") == 4


def test_a_backbone_that_diverges_is_a_line_and_the_next_one_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = ("--protocol", "honest", "--lr", "1e30", "0.01")
    assert _run(tmp_path, *lost) == 0
    first, *others = read_lines(tmp_path / "out")
    assert first["piece"] == "stage1"
    assert "lower stage1.lr" in first["failed"]
    assert [line["piece"] for line in others] == ["stage1", "heads", "rows", "pack"]
    said = capsys.readouterr().out
    assert "Failed, and left out above" in said
    assert f"| {first['key']} | stage1 | stage 1: " in said
    assert _run(tmp_path, *lost) == 0
    assert len(read_lines(tmp_path / "out")) == 5
    assert _run(tmp_path, *lost, "--list") == 0
    listed = capsys.readouterr().out
    assert f"{first['key']} stage1: failed: stage 1: " in listed
    assert f"{first['key']} heads: left out" in listed


def test_what_is_done_needs_no_cache(copied: Path) -> None:
    before = read_lines(copied / "out")
    shutil.rmtree(copied / "cache")
    assert _run(copied, "--protocol", "honest") == 0
    assert read_lines(copied / "out") == before


def _without(folder: Path, piece: str) -> None:
    kept = [line for line in read_lines(folder / "out") if line["piece"] != piece]
    (folder / "out" / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))


def test_a_lost_backbone_is_trained_again_by_its_own_piece(copied: Path) -> None:
    _without(copied, "pack")
    shutil.rmtree(copied / "cache")
    assert _run(copied, "--protocol", "honest") == 0
    # the same processor gives the same weights: heads and rows still hold
    assert [piece for _, piece in _pieces(copied)] == ["stage1", "heads", "rows", "stage1", "pack"]


def test_what_belongs_to_other_weights_is_done_again(copied: Path) -> None:
    _without(copied, "rows")
    path = copied / "out" / "lines.jsonl"
    weights = json.loads(path.read_text().splitlines()[0])["weights"]
    path.write_text(path.read_text().replace(weights, "0" * 64))  # as if trained elsewhere, and otherwise
    assert _run(copied, "--protocol", "honest") == 0
    lines = read_lines(copied / "out")
    assert [line["piece"] for line in lines] == ["stage1", "heads", "pack", "stage1", "heads", "rows", "pack"]
    counting = current(lines)
    assert [line["piece"] for line in counting] == ["stage1", "heads", "rows", "pack"]
    assert {line["weights"] for line in counting} == {weights}


def test_the_hash_of_weights_sees_names_and_values() -> None:
    weights = {"a": torch.arange(3.0), "b": torch.tensor(1)}
    assert hashed(weights) == hashed(dict(reversed(weights.items())))
    assert hashed(weights) != hashed({"a": torch.arange(3.0), "c": torch.tensor(1)})
    assert hashed(weights) != hashed({"a": torch.arange(3.0) + 1e-6, "b": torch.tensor(1)})


def test_a_piece_that_does_not_fit_is_not_begun(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def campaign(minutes: float) -> Campaign:
        found = Campaign(toy_scale(), out=copied / "out", cache=copied / "cache", minutes=minutes)
        found._pieces = dict.fromkeys(found._pieces, lambda backbone: seen.append(backbone.protocol) or {})  # type: ignore[func-returns-value]
        return found

    path = copied / "out" / "lines.jsonl"
    lines = read_lines(copied / "out")
    slow = [{**line, "seconds": 600.0} if line["piece"] == "heads" else line for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in slow))
    other = dataclasses.replace(HONEST, stage1=dataclasses.replace(HONEST.stage1, seed=9))
    heads = campaign(8.0)
    assert heads.minutes(other, "heads") == 10
    assert heads.minutes(Backbone.of("paper_leak", other.task, other.stage1), "heads") == 0.01  # a guess
    with pytest.raises(TooFewMinutesError, match=r"takes about 10\.0 minutes"):
        heads._do(other, "heads")
    enough = campaign(12.0)
    now = paper_campaign.time.monotonic()
    with monkeypatch.context() as context:
        context.setattr(paper_campaign.time, "monotonic", lambda: now + 180)
        with pytest.raises(MinutesOverError):
            enough._do(other, "heads")
    assert not seen


def test_stage_1_is_begun_where_a_few_of_its_epochs_fit(tmp_path: Path) -> None:
    size = dataclasses.replace(toy_scale(), minutes={"stage1": 320.0}, closing=30)  # a minute an epoch
    long = dataclasses.replace(HONEST, stage1=dataclasses.replace(HONEST.stage1, epochs=40))
    Campaign(size, out=tmp_path, cache=tmp_path, minutes=3.0)._check_time([long], "stage1")
    with pytest.raises(TooFewMinutesError):
        Campaign(size, out=tmp_path, cache=tmp_path, minutes=2.0)._check_time([long], "stage1")


def test_too_few_minutes_and_wrong_data_end_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, "--minutes", "1e-6") == 2
    assert "--minutes must be more" in capsys.readouterr().err
    where = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert paper_table.main([str(tmp_path / "nowhere"), *where]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_it_runs_without_what_a_gpu_box_lacks(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('ray', 'optuna', 'sqlalchemy', 'plotly', 'pandas')))\n"
        "import benchmarks.gpu_speed, benchmarks.gpu_campaign\n"
        "from benchmarks.paper_table import main\n"
        f"sys.exit(main(['--toy', '--list', '--out', {str(tmp_path)!r}, '--cache', {str(tmp_path)!r}]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "due, about" in ran.stdout


def test_the_final_configuration_is_trained_once_a_seed(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(copied, "--final", "--seed", "3", "4") == 0
    added = [line for line in read_lines(copied / "out") if line["protocol"] == "final"]
    assert [(line["seed"], line["piece"]) for line in added] == [
        (seed, piece) for seed in (3, 4) for piece in ("stage1", "final")
    ]
    assert {line["head"]["config"]["stage2.seed"] for line in added if line["piece"] == "final"} == {3, 4}
    said = capsys.readouterr().out
    assert "chosen under honest: " in said
    (row,) = [line for line in said.splitlines() if line.startswith("| 3 epochs") and "weight decay |" not in line][-1:]
    assert row.endswith("| 2 |")
    assert _run(copied, "--final", "--seed", "3", "4") == 0
    assert len([line for line in read_lines(copied / "out") if line["protocol"] == "final"]) == 4


def test_nothing_is_final_before_honest_has_chosen(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(copied, "--final", "--epochs", "2") == 2
    assert "without --final first" in capsys.readouterr().err


def test_the_cache_that_holds_other_weights_is_noticed(copied: Path) -> None:
    campaign = Campaign(toy_scale(), out=copied / "out", cache=copied / "cache", minutes=1)
    backbone = Backbone.of("honest", HONEST.task, dataclasses.replace(HONEST.stage1, weight_decay=5e-3))
    assert campaign.due(backbone) == []
    _without(copied, "pack")
    fingerprint = backbone.fingerprint(campaign.device)
    cache = Cache(copied / "cache")
    pair = cache.load(fingerprint, "backbone")
    assert pair is not None
    cache.publish(fingerprint, "backbone", {name: tensor * 2 for name, tensor in pair[0].items()}, pair[1])
    again = Campaign(toy_scale(), out=copied / "out", cache=copied / "cache", minutes=1)
    assert again.due(backbone) == ["stage1", "pack"]
