"""Short schedules teach long ones: what is trained next, and with how many epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from search_spaces import loads
from search_spaces.problems import SpaceError
from studies.errors import StudyMismatchError
from studies.records import Failure, FailureKind
from studies.study_data import best_trial
from tests.tuner.search.test_planner import opened, run
from tuner.search.asking import Search
from tuner.search.gaussian_process import GaussianProcess, Points
from tuner.search.lessons import EPOCHS, Observation
from tuner.search.planner import Planner
from tuner.search.rungs import Ladder
from tuner.search.sampling import Level, propose_length

LEVEL = Level(
    {
        "stage1.lr": FloatDistribution(1e-3, 0.3, log=True),
        "stage1.weight_decay": FloatDistribution(1e-4, 5e-2, log=True),
    }
)
LENGTHS = (40, 120, 320)


def worth(params: Mapping[str, Any]) -> float:
    """A hill; shorter schedules want more weight decay and lose some points."""
    shorter = math.log10(320 / params[EPOCHS])
    work = math.log10(params["stage1.lr"] * params["stage1.weight_decay"] / 1e-5) - 0.8 * shorter
    return 0.6 - 0.1 * shorter - 0.1 * work**2 - 0.02 * math.log10(params["stage1.lr"] / 0.05) ** 2


def trained(epochs: int, *, lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[dict[str, Any]]:
    """The trainings of a whole search, one after another."""
    asked: list[dict[str, Any]] = []
    while True:
        rows = [Observation(index, params, worth(params)) for index, params in enumerate(asked)]
        ladder = Ladder(lengths, epochs - sum(params[EPOCHS] for params in asked))
        params = propose_length(rows, space=LEVEL, ladder=ladder, seed=seed, index=len(asked), known=asked)
        if params is None:
            return asked
        asked.append(params)


def test_the_budget_is_kept_and_ends_with_a_full_schedule() -> None:
    asked = trained(4 * 320)
    lengths = [params[EPOCHS] for params in asked]
    assert 3 * 320 < sum(lengths) <= 4 * 320
    assert lengths[:4] == [40, 40, 40, 40]
    assert lengths[-1] == 320


@pytest.mark.parametrize(("lengths", "before"), [(LENGTHS, 6), ((80, 320), 4)])
def test_short_schedules_come_before_the_first_full_one(lengths: tuple[int, ...], before: int) -> None:
    """Six, or fewer where these would cost more than it."""
    for seed in range(2):
        asked = [params[EPOCHS] for params in trained(2 * 320, lengths=lengths, seed=seed)]
        assert max(asked[:before]) < 320
        assert 320 in asked[before:]


def test_with_short_schedules_the_hill_is_found_for_less() -> None:
    def missed(lengths: tuple[int, ...], seed: int) -> float:
        return 0.6 - max(
            worth(params) for params in trained(3 * 320, lengths=lengths, seed=seed) if params[EPOCHS] == 320
        )

    short = [missed(LENGTHS, seed) for seed in range(3)]
    assert sum(short) < 0.5 * sum(missed((319, 320), seed) for seed in range(3))


def test_proposals_do_not_depend_on_the_order_of_rows_or_of_pending_ones() -> None:
    asked = trained(2 * 320)
    rows = [Observation(index, params, worth(params)) for index, params in enumerate(asked)]
    pending = [{**params, EPOCHS: 120} for params in asked[:2]]
    found = [
        propose_length(
            mixed, space=LEVEL, ladder=Ladder(LENGTHS, 900), seed=0, index=len(rows) + 2,
            known=[*asked, *pending], pending=waiting,
        )
        for mixed, waiting in ((rows, pending), (rows[::-1], pending[::-1]))
    ]  # fmt: skip
    assert found[0] == found[1]


def test_a_training_under_way_is_not_asked_for_again() -> None:
    asked = trained(2 * 320)
    rows = [Observation(index, params, worth(params)) for index, params in enumerate(asked)]
    waiting: list[dict[str, Any]] = []
    for _ in range(4):
        params = propose_length(
            rows, space=LEVEL, ladder=Ladder(LENGTHS, 4000), seed=0, index=len(rows) + len(waiting),
            known=[*asked, *waiting], pending=waiting,
        )  # fmt: skip
        assert params is not None
        assert params not in [*asked, *waiting]
        waiting.append(params)


def test_what_cannot_be_paid_is_not_begun() -> None:
    assert Ladder(LENGTHS, 319).affordable == ()
    assert Ladder(LENGTHS, 320).affordable == (320,)
    assert Ladder(LENGTHS, 360).affordable == (40, 320)


def test_the_process_learns_offsets_and_drift_between_lengths() -> None:
    """Short readings alone tell where a full schedule is best, though they lie lower and elsewhere."""
    z = np.linspace(0, 1, 12)
    both = np.concatenate([z, z[::4]])
    t = np.concatenate([np.ones(12), np.zeros(3)])
    y = -((both - 0.6 + 0.3 * (1 - t)) ** 2) - 0.5 * t  # at full length the best place is 0.3

    def points(place: Any, distance: Any) -> Points:
        return Points(np.array(place)[:, None], np.array(distance), np.array([False]), np.array([-0.4]))

    process = GaussianProcess(points(both, t), y)
    mean, variance = process.posterior(points(z, np.zeros(12)))
    assert abs(z[mean.argmax()] - 0.3) < 0.1
    assert (variance > 0).all()
    assert process.covariance(points(z, np.zeros(12)), points(z, np.zeros(12))).diagonal() == pytest.approx(
        variance, abs=1e-9
    )


TEXT = """version: 1
name: rungs
task: {dataset: digits-lt}
stage1: {epochs: 40, lr: {low: 1e-2, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1e-1, log: true}}
stage2: {lr: {low: 1e-3, high: 1, log: true}}
budget: {backbones: 3, heads_per_backbone: 4, rounds: 2}
fidelity: {epochs: [5, 15, 40]}
"""


def test_a_space_counts_epochs() -> None:
    space = loads(TEXT)
    assert (space.ladder, space.epochs) == ((5, 15, 40), 120)
    assert loads(TEXT.replace("backbones: 3", "epochs: 200")).epochs == 200
    plain = TEXT.replace("fidelity: {epochs: [5, 15, 40]}\n", "")
    assert loads(plain).epochs == 0
    assert loads(plain).sha256 == space.sha256  # a study may go on with other lengths
    for one in (space, loads(TEXT.replace("backbones: 3", "epochs: 200"))):
        assert loads(one.to_yaml()) == one


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("[5, 15, 40]", "[5, 15]"), r"the last length must be stage1.epochs \(40\)"),
        (("[5, 15, 40]", "[15, 5, 40]"), "shortest first"),
        (("[5, 15, 40]", "[40]"), "epochs"),
        (("stage1: {epochs: 40", "stage1: {epochs: {choices: [20, 40]}"), "a fixed number"),
        (("backbones: 3", "epochs: 30"), "one full schedule at least"),
        (("backbones: 3", "backbones: 3, epochs: 90"), "stands beside budget.backbones"),
        (("fidelity:", "sampler: {stage1: tpe}\nfidelity:"), "fidelity needs gp"),
        (("fidelity: {epochs: [5, 15, 40]}", "sampler: {seed: 0}\n"), None),
    ],
)
def test_lengths_that_do_not_fit_are_refused_with_the_way_out(change: tuple[str, str], complaint: str | None) -> None:
    text = TEXT.replace(*change)
    if complaint is None:
        assert not loads(text).ladder
        return
    with pytest.raises(SpaceError, match=complaint):
        loads(text)


def test_epochs_without_lengths_are_refused() -> None:
    with pytest.raises(SpaceError, match="it needs fidelity"):
        loads(TEXT.replace("fidelity: {epochs: [5, 15, 40]}", "").replace("backbones: 3", "epochs: 120"))


def test_heads_of_short_schedules_teach_those_of_full_ones() -> None:
    search = Search(loads(TEXT))
    first = search.next(searching=False)
    assert first is not None
    assert first.stage1[EPOCHS] == 5
    assert not search.is_full(first.backbone)


def test_a_study_spends_its_epochs_exactly_and_chooses_among_full_schedules(tmp_path: Path, pretend: Any) -> None:
    space = loads(TEXT)
    with opened(space, tmp_path) as store:
        first = run(Planner(space, store), pretend, at_most=7)
        rest = run(Planner(space, store), pretend)
        tasks = [task for task in (*first, *rest) if task.job and task.job.round == 0 and task.kind != "baseline"]
        lengths = [int(task.configs[0]["stage1.epochs"] or 0) for task in tasks]
        assert space.epochs - 40 < sum(lengths) <= space.epochs  # what is left cannot pay a full one
        assert {task.kind for task in tasks} == {"rung", "search"}
        rows = store.trials()
        assert {row.role for row in rows if row.config["stage1.epochs"] != 40} == {"rung"}
        best = best_trial(rows)
        assert best is not None
        assert best.config["stage1.epochs"] == 40
        planner = Planner(space, store)
        assert planner.tally.total == len(rows)
        assert not planner.has_work()


def test_a_resumed_study_asks_as_an_uninterrupted_one(tmp_path: Path, pretend: Any) -> None:
    space, found = loads(TEXT), []
    for stops in ((), (3, 9)):
        folder = tmp_path / str(len(stops))
        folder.mkdir()
        with opened(space, folder) as store:
            for at_most in stops:
                run(Planner(space, store), pretend, at_most=at_most)
            run(Planner(space, store), pretend)
            found.append([(row.number, row.role, dict(row.params)) for row in store.trials()])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "change",
    [
        ("backbones: 3", "backbones: 1"),
        ("backbones: 3", "epochs: 44"),
        ("lr: {low: 1e-2, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1e-1, log: true}}", "lr: 0.1}"),
        ("weight_decay: {low: 1e-4, high: 1e-1, log: true}", "loss: {choices: [ce, ldam]}"),
        ("backbones: 3", "backbones: 3"),
    ],
)
def test_many_workers_and_small_spaces_get_trainings_before_any_result(
    change: tuple[str, str], tmp_path: Path, pretend: Any
) -> None:
    space = loads(TEXT.replace(*change))
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        asked = [task for task in (planner.next_task() for _ in range(12)) if task is not None]
        for task in asked:
            planner.complete(task, pretend(task))
        run(planner, pretend)
        assert planner.leader is not None
        rows = store.trials()
        assert len({(row.backbone_index, row.config["stage1.epochs"]) for row in rows if row.role != "naive"}) == len(
            {row.backbone_index for row in rows if row.role != "naive"}
        )
        assert planner.tally.total == len(rows)
        assert planner.work_left == (0, 0)


def test_short_schedules_get_half_of_the_epochs_at_most() -> None:
    """Though all values are alike."""
    search = Search(loads(TEXT.replace("backbones: 3, heads_per_backbone: 4, rounds: 2", "epochs: 400")))
    short = full = 0
    while (asked := search.next(searching=True)) is not None:
        length = int(asked.stage1[EPOCHS] or 0)
        search.observe(asked.backbone, {**search.space.fixed, **asked.stage1, **asked.heads[0]}, 0.5)
        if asked.round == 0:
            short, full = short + length * (length < 40), full + length * (length == 40)
    assert short <= 200
    assert full >= 160


def test_a_study_with_short_schedules_keeps_its_fidelity(tmp_path: Path) -> None:
    opened(loads(TEXT), tmp_path).close()
    with pytest.raises(StudyMismatchError, match="cannot go on without fidelity"):
        opened(loads(TEXT.replace("fidelity: {epochs: [5, 15, 40]}", "")), tmp_path)
    opened(loads(TEXT.replace("[5, 15, 40]", "[8, 40]")), tmp_path).close()


def test_refinement_and_other_seeds_are_counted_for_full_schedules(tmp_path: Path, pretend: Any) -> None:
    space = loads(TEXT + "refine: {top: 4, heads: 8}\nconfirm: {top: 4, seeds: 3}\n")
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        run(planner, pretend)
        assert planner.tally.total == len(store.trials())
        assert planner.work_left == (0, 0)


def test_a_study_without_a_full_schedule_has_no_result(tmp_path: Path, pretend: Any) -> None:
    space = loads(TEXT.replace("rounds: 2}", "rounds: 2, max_failed: 9, max_retries: 0}"))
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        while (task := planner.next_task()) is not None:
            if task.kind == "search":
                planner.fail(task, Failure(FailureKind.DIVERGED, "diverged"))
            else:
                planner.complete(task, pretend(task))
        assert planner.tally.complete > 0
        assert planner.verdict() == "failed"


def test_start_points_are_trained_in_full() -> None:
    search = Search(
        loads(TEXT.replace("rounds: 2", "rounds: 1") + "start: [{stage1.lr: 0.1, stage1.weight_decay: 5e-3}]\n")
    )
    first, second = search.next(searching=False), search.next(searching=False)
    assert first is not None
    assert second is not None
    assert first.stage1 == {"stage1.lr": 0.1, "stage1.weight_decay": 5e-3, EPOCHS: 40}
    assert second.stage1[EPOCHS] == 5
