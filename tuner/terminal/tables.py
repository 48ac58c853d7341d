"""Tables for the terminal, and the objects that `--json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from search_spaces.geometry import in_words
from search_spaces.objectives import measure
from studies.confirmed import without_seeds
from studies.findings.spread import spreads
from studies.records import ReadingRow, TrialRow
from studies.store import Store
from studies.study_data import FRESH_SEED, RUNG, SLOPE, best_confirmed, best_trial, seed_of
from studies.wording import mean_and_deviation, per_cent, points
from tuner.errors import NotThereError
from tuner.search.lessons import EPOCHS
from tuner.terminal.objectives import front_rows, plan_lines

if TYPE_CHECKING:
    from search_spaces import Space
    from trainers.files.cache import CacheEntry
    from trainers.predict import Prediction
    from tuner.preflight import Preflight

LEAK = "protocol paper_leak: selected on test, as in the released code; these are not honest test figures"
TEST_MEASURES = ("balanced_accuracy", "many", "medium", "few")
_SHOWN = (*(f"val.{name}" for name in TEST_MEASURES), SLOPE)  # columns that every table of trials has


def status(store: Store) -> dict[str, Any]:
    """A study's state, number of trials by state, and best trial."""
    study, rows = store.study(), store.trials()
    states = Counter(row.state for row in rows)
    chosen = best_trial(rows)
    several = {"objectives": list(study.objectives)} if study.others else {}
    return {
        "study": study.name,
        "state": study.state,
        "trials": {
            "complete": states["COMPLETE"],
            "pruned": states["PRUNED"],
            "failed": states["FAIL"],
            "running": states["RUNNING"],
        },
        "best": None
        if chosen is None
        else {
            "number": chosen.number,
            "value": chosen.value,
            "params": dict(chosen.params),
            "precision": chosen.precision,
            "over_seeds": _over_seeds(rows),
        },
        **several,
    }


def _over_seeds(rows: Sequence[TrialRow]) -> dict[str, Any] | None:
    """The objective of the chosen configuration over its seeds on validation; None if its one run chose it."""
    one = best_confirmed(rows)
    return None if one is None else {**one.value._asdict(), "seeds": list(one.seeds), "failed": len(one.failed)}


def trial(row: TrialRow) -> dict[str, Any]:
    """One object of the list that `tuner trials --json` prints."""
    return {
        "number": row.number,
        "state": row.state,
        "value": row.value,
        "params": dict(row.params),
        "metrics": dict(row.metrics),
        "role": row.role,
        "epochs": row.config.get(EPOCHS),
        "backbone": row.backbone,
        "precision": row.precision,
        "space": row.space,
        "reason": row.reason,
        "notes": list(row.notes),
    }


def best(store: Store) -> dict[str, Any]:
    """The chosen trial, its configuration and its reading of test; with several objectives, their front, too.

    Raises NotThereError if no trial is complete.
    """
    rows, study = store.trials(), store.study()
    chosen = best_trial(rows)
    if chosen is None:
        raise NotThereError(f"study {study.name} has no complete trial yet; see: tuner status")
    readings = store.readings()
    reading = next((r for r in readings if r.role == "best" and r.number == chosen.number), None)
    return {
        **trial(chosen),
        "config": dict(chosen.config),
        "test": None if reading is None else {key: reading.metrics.get(f"test.{key}") for key in TEST_MEASURES},
        "over_seeds": _over_seeds(rows),
        "fresh_seeds": _fresh_figures(chosen, readings),
        **({"objectives": list(study.objectives), "front": front_rows(rows, study.objectives)} if study.others else {}),
    }


def _fresh_figures(chosen: TrialRow, readings: Sequence[ReadingRow]) -> dict[str, Any] | None:
    """Test figures of the chosen configuration over fresh seeds; None if fewer than two were read."""
    own = without_seeds(chosen.config)
    fresh = [row for row in readings if row.role == FRESH_SEED and without_seeds(row.config) == own]
    if len(fresh) < 2:
        return None
    over = spreads([row.metrics for row in fresh])
    known = {key: over[f"test.{key}"] for key in TEST_MEASURES if f"test.{key}" in over}
    return {"seeds": sorted(map(seed_of, fresh)), "test": {key: one._asdict() for key, one in known.items()}}


def trials_table(rows: Sequence[TrialRow], *, title: str, objectives: Sequence[str] = ()) -> Table:
    """One line a trial and one column a parameter, and one a further objective; with the reasons of failures."""
    more = [measure(name) for name in objectives if measure(name) not in _SHOWN]
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    reasons = any(row.reason for row in rows)
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    several = any(row.space > 1 for row in rows)  # the study grew
    rungs = any(row.role == RUNG for row in rows)  # schedules differ in length
    own = ("trial", "state", "role", *((EPOCHS,) if rungs else ()), *(("space",) if several else ()))
    for column in (*own, "all", "many", "medium", "few", "slope", *more, *names):
        table.add_column(column, no_wrap=True)
    if reasons:
        table.add_column("reason", no_wrap=True)
    for row in rows:
        slope = row.metrics.get("norm.slope")
        accuracies = (
            per_cent(row.metrics[key]) if (key := f"val.{name}") in row.metrics else "-" for name in TEST_MEASURES
        )
        params = (_four_digits(row.params[name]) if name in row.params else "-" for name in names)
        table.add_row(
            str(row.number), row.state, row.role, *([str(row.config[EPOCHS])] if rungs else []),
            *([str(row.space)] if several else []), *accuracies,
            "-" if slope is None else f"{slope:+.3f}", *(per_cent(row.metrics.get(name)) for name in more), *params,
            *([row.reason or ""] if reasons else []),
        )  # fmt: skip
    return table


def best_table(found: dict[str, Any]) -> Table:
    """The chosen configuration, name by name."""
    fresh = found["fresh_seeds"]
    over_seeds = f"; fresh: mean ± deviation of seeds {_listed(fresh['seeds'])}" if fresh else ""
    by = " by its mean" if found["over_seeds"] else ""
    table = Table(
        title=f"trial {found['number']}, chosen on validation{by}{over_seeds}",
        title_justify="left",
        box=None,
        show_header=False,
    )
    for key in TEST_MEASURES:
        test = f"  test {per_cent(found['test'][key])}" if found["test"] else ""
        over = fresh["test"].get(key) if fresh else None
        test += f"  fresh {mean_and_deviation(over['mean'], over['deviation'])}" if over else ""
        table.add_row(key.replace("_", " "), f"validation {per_cent(found['metrics'].get(f'val.{key}'))}{test}")
    if several := found["over_seeds"]:
        mean = mean_and_deviation(several["mean"], several["deviation"])
        table.add_row("objective", f"validation {mean} over seeds {_listed(several['seeds'])}")
        table.add_row("", f"validation {per_cent(found['value'])} in the one run of the search")
    for name, value in found["params"].items():
        table.add_row(name, _four_digits(value))
    if found["config"]["task.protocol"] == "paper_leak":
        table.caption = LEAK
    return table


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def cache_entry(entry: CacheEntry) -> dict[str, Any]:
    """One object of the list that `tuner cache --json` prints; sizes in bytes."""
    config = entry.manifest.get("config", {})
    return {
        "fingerprint": entry.fingerprint,
        "complete": entry.complete,
        "backbone_bytes": entry.backbone_bytes,
        "features_bytes": entry.features_bytes,
        "model": config.get("task.model"),
        "dataset": config.get("task.dataset"),
        "seconds": entry.manifest.get("seconds"),
    }


def cache_table(entries: Sequence[CacheEntry]) -> Table:
    """One row a backbone, last used first."""
    total = sum(entry.backbone_bytes + entry.features_bytes for entry in entries)
    table = Table(title=f"{len(entries)} backbones, {total / 2**20:.1f} MiB", title_justify="left", box=None)
    for column in ("backbone", "data", "model", "MiB", "features MiB", "training, s"):
        table.add_column(column, no_wrap=True)
    for one in map(cache_entry, entries):
        table.add_row(
            one["fingerprint"][:12], one["dataset"] or "unfinished", one["model"] or "-",
            f"{one['backbone_bytes'] / 2**20:.1f}", f"{one['features_bytes'] / 2**20:.1f}",
            "-" if one["seconds"] is None else f"{one['seconds']:.0f}",
        )  # fmt: skip
    return table


def evaluation_table(metrics: Mapping[str, float | None], *, images: int) -> Table:
    """A model on test images: accuracies by group, then calibration."""
    table = Table(title=f"{images} test images", title_justify="left", box=None, show_header=False)
    for key in (*TEST_MEASURES, "top1", "ece", "ece_calibrated"):
        table.add_row(key.replace("_", " "), per_cent(metrics.get(f"test.{key}")))
    return table


def prediction(found: Prediction, class_names: Sequence[str], *, top: int | None = None) -> dict[str, Any]:
    """One line that `tuner predict --json` prints; probabilities from the highest, all or the first `top`."""
    ranked = sorted(zip(class_names, found.probabilities, strict=True), key=lambda pair: -pair[1])
    name, probability = ranked[0]
    return {"file": str(found.path), "class": name, "probability": probability, "probabilities": dict(ranked[:top])}


def predictions_table(found: Sequence[Prediction], class_names: Sequence[str], *, top: int) -> Table:
    """One row an image: the likeliest class, then the next ones. Wraps long file names."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("file", overflow="fold")
    for place in range(min(top, len(class_names))):
        table.add_column("class" if place == 0 else f"{place + 1}.", no_wrap=True)
        table.add_column("", no_wrap=True, justify="right")
    for one in (prediction(each, class_names) for each in found):
        ranked = list(one["probabilities"].items())[:top]
        table.add_row(one["file"], *(part for name, p in ranked for part in (name, per_cent(p))))
    return table


def plan(space: Space, built: Preflight) -> list[str]:
    """The lines of `tuner check`: trials, parameters, data, model."""
    counts = built.train_counts
    about = "about " if space.ladder else ""
    parts = [f"{about}{space.backbones} backbones x {space.heads_per_backbone} heads"]
    parts += [f"{space.refine.top} refined by {space.heads_to_refine}"] if space.refine else []
    parts += _confirm_part(space)
    parts += ["1 naive baseline"] if "naive" in space.baselines else []
    return [
        f"{space.name}: {about}{space.trials} trials ({', '.join(parts)})",
        *_lengths(space),
        *_fewer(space),
        *plan_lines(space),
        *(f"  {name}: {in_words(of)}{_belief(space, name)}" for name, of in space.searched.items()),
        *(f"  first: {', '.join(f'{name} {value}' for name, value in p.items())}" for p in space.start_points if p),
        f"  data: {len(counts)} classes, {sum(counts):,} training images, {max(counts):,} down to {min(counts):,}",
        f"  model: {built.parameters:,} parameters",
        *(f"  note: {note}" for note in built.notes),
    ]


def _belief(space: Space, name: str) -> str:
    """A parameter's prior, if the space has one."""
    return f", believed near {_four_digits(space.priors[name])}" if name in space.priors else ""


def _confirm_part(space: Space) -> list[str]:
    if space.confirm is None:
        return []
    return [f"{min(space.confirm.top, space.full_backbones)} confirmed by {space.confirm.seeds - 1} more seeds"]


def _lengths(space: Space) -> Iterator[str]:
    """The lengths of schedules and what they may cost, where they differ."""
    if space.ladder:
        lengths = ", ".join(map(str, space.ladder))
        yield f"  schedules: {lengths} epochs; {space.epochs:,} epochs in all; chosen among those of {space.ladder[-1]}"


def _fewer(space: Space) -> Iterator[str]:
    """Notes where the budget asks for more configurations than the space has."""
    asked = {} if space.ladder else {"backbones": ("stage1", space.backbones)}
    asked |= {"heads_per_backbone": ("stage2", space.heads_per_backbone)}
    for name, (stage, there) in asked.items():
        if there < getattr(space.budget, name):
            yield (
                f"  note: budget.{name} is {getattr(space.budget, name)}, but {stage} has no more than {there} "
                "different configurations"
            )


def figure_lines(readings: Sequence[ReadingRow]) -> list[str]:
    """The main test figures: the chosen configuration, its fresh seeds, each baseline, and the gains over naive and
    over the other baseline that is best on validation."""
    fresh = [row for row in readings if row.role == FRESH_SEED]
    latest = {row.role: row for row in readings if row.role != FRESH_SEED}  # the last reading of each role
    own = without_seeds(latest["best"].config) if "best" in latest else {}
    fresh = [row for row in fresh if without_seeds(row.config) == own]  # not those of an earlier best
    rows = sorted(latest.values(), key=lambda row: row.role != "best")
    lines = [f"{'recall on test images':22}" + "".join(f"{group:>10}" for group in ("all", *TEST_MEASURES[1:]))] * bool(
        rows
    )
    for row in rows:
        lines.append(_reading_line(row.role, [row.metrics.get(f"test.{group}") for group in TEST_MEASURES]))
        lines += _fresh_lines(fresh) if row.role == "best" else []
    others = [row for row in rows if row.role not in ("best", "naive")]
    rivals = [latest["naive"]] if "naive" in latest else []
    rivals += [max(others, key=lambda row: row.metrics.get("val.balanced_accuracy") or 0.0)] if others else []
    for rival in rivals if "best" in latest else []:
        gains = [_gain_cell(latest["best"], rival, key) for key in ("balanced_accuracy", "few")]
        note = "" if rival.role == "naive" else " (best other on val)"
        lines.append(f"best against {rival.role}{note}: all {gains[0]}, few {gains[1]} points")
    return lines + [LEAK] * any(row.config["task.protocol"] == "paper_leak" for row in rows)


def _fresh_lines(fresh: Sequence[ReadingRow]) -> list[str]:
    """Mean and deviation over fresh seeds; nothing for fewer than two."""
    if len(fresh) < 2:
        return []
    over = spreads([row.metrics for row in fresh])
    known = [over.get(f"test.{group}") for group in TEST_MEASURES]
    deviations = [f"± {100 * (one.deviation or 0.0):.1f}" if one else "" for one in known]
    seeds = ", ".join(str(row.config["stage1.seed"]) for row in fresh)
    return [
        _reading_line(f"  mean of seeds {seeds}", [one.mean if one else None for one in known]),
        f"{'  deviation of them':22}" + "".join(f"{deviation:>10}" for deviation in deviations),
    ]


def _reading_line(name: str, values: Sequence[float | None]) -> str:
    return f"{name:22}" + "".join(f"{per_cent(value):>10}" for value in values)


def _gain_cell(best_row: ReadingRow, naive: ReadingRow, key: str) -> str:
    ours, theirs = best_row.metrics.get(f"test.{key}"), naive.metrics.get(f"test.{key}")
    return "none" if ours is None or theirs is None else points(ours - theirs).replace("−", "-")


def _four_digits(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
