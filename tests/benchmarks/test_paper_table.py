from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import paper_table
from benchmarks.paper_pack import Pack, read_packs, write_pack
from benchmarks.paper_summary import summary
from trainers.features import FeatureBank, LabelledFeatures
from trainers.weight_balance import LinearHead

ROOT = Path(__file__).parents[2]


def _run(folder: Path, *arguments: str) -> int:
    where = ["--out", str(folder / "out"), "--cache", str(folder / "cache")]
    return paper_table.main(["--toy", "--seed", "0", "--weight-decay", "5e-3", *where, *arguments])


def test_all_pieces_at_toy_scale_are_done_once_and_summed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path) == 0
    lines = paper_table.read_lines(tmp_path / "out")
    assert [(line["protocol"], line["piece"]) for line in lines] == [
        (protocol, piece) for protocol in ("paper_leak", "honest") for piece in ("stage1", "heads", "rows", "pack")
    ]
    said = capsys.readouterr().out
    assert "| paper_leak | 0.01 | 0.005 | 3 | released |" in said
    assert "Protocol honest, backbone and head chosen on validation" in said
    assert "53.1" not in said  # the published figures are not these images'
    assert _run(tmp_path) == 0
    assert paper_table.read_lines(tmp_path / "out") == lines


def test_out_of_time_it_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run(tmp_path, "--protocol", "honest") == 0
    whole = {line["piece"]: line for line in paper_table.read_lines(tmp_path / "out")}
    cut = tmp_path / "cut"
    clock = iter(range(10_000))
    with monkeypatch.context() as context:
        # the budget is 0.05 minutes: three looks at the clock, so stage 1 is stopped after an epoch
        context.setattr(paper_table.time, "monotonic", lambda: float(next(clock)))
        assert _run(cut, "--protocol", "honest", "--minutes", "0.05") == 75
    assert not (cut / "out" / "lines.jsonl").exists()
    assert list((cut / "cache").glob("*/checkpoint*"))
    assert _run(cut, "--protocol", "honest") == 0
    again = {line["piece"]: line for line in paper_table.read_lines(cut / "out")}
    assert [row[:3] for row in again["stage1"]["curve"]] == [row[:3] for row in whole["stage1"]["curve"]]
    assert again["rows"]["rows"] == whole["rows"]["rows"]


def test_a_line_that_a_kill_cut_short_is_done_again(tmp_path: Path) -> None:
    assert _run(tmp_path, "--protocol", "honest") == 0
    path = tmp_path / "out" / "lines.jsonl"
    path.write_text(path.read_text()[:-40])
    assert _run(tmp_path, "--protocol", "honest") == 0
    assert [line["piece"] for line in paper_table.read_lines(tmp_path / "out")] == ["stage1", "heads", "rows", "pack"]


def test_it_runs_without_what_a_gpu_box_lacks(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('ray', 'optuna', 'sqlalchemy', 'plotly', 'pandas')))\n"
        "import benchmarks.gpu_speed\n"
        "from benchmarks.paper_table import main\n"
        f"sys.exit(main(['--toy', '--list', '--out', {str(tmp_path)!r}, '--cache', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "due, about" in done.stdout


def test_rows_are_chosen_on_what_selects() -> None:
    value = paper_table.VALUE
    posthoc = [
        {"config": {"method": method, "tau": tau}, value: found}
        for method, tau, found in [
            ("none", 1.0, 0.1), ("l2_norm", 1.0, 0.2), ("tau_norm", 0.5, 0.3), ("tau_norm", 1.5, 0.4),
            ("logit_adjustment", 1.0, 0.2), ("logit_adjustment_mul", 0.3, 0.2), ("ncm", 1.0, 0.2),
        ]
    ]  # fmt: skip
    heads = [{"config": {"projection": "epoch", "lr": 0.01}, value: 0.9}]
    heads += [
        {"config": {"projection": "step", "lr": 0.02}, value: 0.5},
        {"config": {"projection": "step", "lr": 0.03}, "reason": "diverged"},
        {"config": {"projection": "epoch", "lr": 0.04}, value: 0.6},
    ]
    chosen = dict(paper_table.chosen_heads({"posthoc": posthoc}, {"heads": heads}))
    assert chosen["tau_norm"].tau == 1.5
    assert (chosen["released"].lr, chosen["maxnorm_step"].lr, chosen["maxnorm_epoch"].lr) == (0.01, 0.02, 0.04)


def test_a_pack_is_cut_into_small_files_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.paper_pack.MOST", 4000)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(torch.bfloat16)

    bank = FeatureBank(
        train=draw(2, 50, 16), labels=torch.arange(50) % 3, order_seed=7,
        splits={name: LabelledFeatures(draw(30, 16), torch.arange(30) % 3) for name in ("val", "test")},
    )  # fmt: skip
    start = LinearHead(torch.randn(3, 16), torch.randn(3))
    pack = Pack("honest-seed0", {"stage1.lr": 0.01, "stage1.weight_decay": 0.0}, 12.5, (20, 20, 10), start, bank)
    files = write_pack(tmp_path, pack)
    assert len(files) > 1
    assert all(path.stat().st_size < 6000 for path in files)
    (again,) = read_packs(tmp_path)
    assert (again.name, again.params, again.seconds, again.counts) == (pack.name, pack.params, 12.5, pack.counts)
    assert torch.equal(again.start.weight, start.weight)
    theirs = bank.to_tensors()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in again.bank.to_tensors().items())


def test_published_figures_stand_beside_their_own_setting_only() -> None:
    line = {
        "piece": "rows", "protocol": "paper_leak", "lr": 0.01, "weight_decay": 5e-3, "epochs": 320, "seed": 0,
        "dataset": "cifar100-lt", "rows": {"released": {"test.balanced_accuracy": 0.52, "test.few": None}},
    }  # fmt: skip
    assert "| released | 53.1 | none | none | none | 52.0 | is test | 1 |" in summary([line])
    assert "53.1" not in summary([{**line, "protocol": "honest"}])
    assert summary([]) == "nothing is done yet"


def test_lines_are_json_with_hardware_and_versions(tmp_path: Path) -> None:
    assert _run(tmp_path, "--protocol", "paper_leak") == 0
    for text in (tmp_path / "out" / "lines.jsonl").read_text().splitlines():
        line = json.loads(text)
        assert {"hardware", "versions", "date", "seed", "protocol", "epochs"} <= line.keys()
