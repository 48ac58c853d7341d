"""The requirements for running a study again: code, data, and the hardware it ran on."""

from __future__ import annotations

from studies.export.provenance import code_version, library_versions
from studies.report.page import Need
from studies.study_data import StudyData
from studies.wording import computed_on, duration

_EMBEDDED = ("digits-lt",)  # data that ships with a library


def needs(data: StudyData) -> tuple[Need, ...]:
    """The requirements in the order of installation."""
    return (_code_need(), _data_need(data), _search_need(data), _hardware_need(data))


def _code_need() -> Need:
    known = code_version()
    commit = f", commit {str(known['git_commit'])[:12]}" if "git_commit" in known else ""
    dirty = " with changes that were not committed" if known.get("git_dirty") else ""
    versions = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    return Need(
        "Code",
        f"longtail-tuner {known['package']}{commit}{dirty}, with {versions}; in a checkout of it:",
        "python -m pip install -c constraints.txt .",
    )


def _data_need(data: StudyData) -> Need:
    config, counts = data.configuration, data.study.train_counts
    name = config.get("task.dataset", data.space.task.dataset)
    size = f": {len(counts)} classes, {sum(counts):,} training images" if counts else ""
    known = f", fingerprint {data.study.data_fingerprint[:12]}" if data.study.data_fingerprint else ""
    if name in _EMBEDDED:
        return Need("Data", f"{name}{size}{known}. The images come with scikit-learn; nothing is to be fetched.")
    words = f"{name}{size}{known}. Where the images lie on your machine is said to both commands below with:"
    return Need("Data", words, "--data DIR")


def _search_need(data: StudyData) -> Need:
    sampler, budget = data.space.sampler, data.space.budget
    ladder = data.space.ladder
    lengths = f"backbones of {', '.join(map(str, ladder))} epochs, {data.space.epochs:,} epochs in all"
    chosen = lengths if ladder else f"{budget.backbones} backbones"
    at_once = data.study.backbones_per_gpu or 1
    again = "One worker gives the same trials again; with more, their order moves what is proposed:"
    if data.grew:
        again = (
            f"The space grew before trial {data.spaces[-1].first_trial}; a launch of the whole of it proposes other "
            "trials:"
        )
    together = f" Each worker trained {at_once} backbones side by side." if at_once > 1 else ""
    confirm = data.space.confirm
    several = f" Then the best {confirm.top} are trained with {confirm.seeds} seeds each." if confirm else ""
    return Need(
        "Search",
        f"{sampler.stage1} chose {chosen}, {sampler.stage2} {budget.heads_per_backbone} heads on each, both with seed "
        f"{sampler.seed}.{together}{several} {again}",
        f"--parallel 1 --backbones-per-gpu {at_once}" if at_once > 1 else "--parallel 1",
    )


def _hardware_need(data: StudyData) -> Need:
    devices = sorted({computed_on(row.device, row.precision) for row in data.backbones})
    if not devices:
        return Need("Hardware", "nothing was trained yet.")
    spent = duration(sum(row.seconds for row in data.backbones if not row.cached))
    threads = (
        " On a CPU the number of threads moves the last digits; tuner train takes as many as the study had."
        if any(row.threads is not None for row in data.backbones)
        else " Another kind of GPU may move the last digits."
    )
    return Need("Hardware", f"{', '.join(devices)}; {spent} for all backbones.{threads}")
