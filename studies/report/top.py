"""The top of the report: the result in sentences and cards."""

from __future__ import annotations

from collections.abc import Iterable

from studies.findings.headline import Choice, Compared, Fresh, Headline
from studies.findings.intervals import Interval
from studies.report.page import Page, boxed, escape_html
from studies.wording import (
    count,
    duration,
    gain_limits,
    limits,
    listed,
    mean_and_deviation,
    method_label,
    per_cent,
    points,
    role_label,
)

_SHOT = {"few": "few-shot classes", "medium": "medium ones", "many": "many-shot ones"}


def top(page: Page) -> str:
    """Title, story, cards and cautions."""
    line = page.headline
    parts = [f"<header><h1>{escape_html(line.study)}</h1>", f'<p class="soft">{escape_html(page.summary)}</p>']
    parts += [f'<p class="lead">{sentence}</p>' for sentence in (_trade(line), _story(line)) if sentence]
    parts += [f"<p>{sentence}</p>" for sentence in (_fresh_sentence(line), _chosen_settings(page)) if sentence]
    parts.append(f'<div class="cards">{"".join(_cards(line))}</div>')
    if page.naive:
        parts.append(f'<p class="soft">{escape_html(page.naive)}</p>')
    parts.append(boxed("cautions", "Read with care", page.cautions))
    parts.append(boxed("remarks", "Good to know", page.remarks))
    return "".join(parts) + "</header>"


def _trade(line: Headline) -> str:
    """The first sentence: the gain of the rare classes and the loss of the common ones."""
    if line.naive is None:
        return ""
    told = [_group(name, gain, first=i == 0) for i, (name, gain) in enumerate(line.naive.gains.items())]
    method, overall = escape_html(method_label(line.method)), _change(line.naive.gain)
    return f"Against the naive classifier, {method} {listed(told)}; over all classes it {overall}."


def _group(name: str, gain: Interval, *, first: bool) -> str:
    words = _SHOT[name] if not first else _SHOT[name].replace("ones", "classes")
    told = _change(gain, f" on {words}")
    return f"<strong>{told}</strong>" if first else told


def _change(gain: Interval, on: str = "") -> str:
    """The change for a group of classes, with its interval."""
    amount = points(abs(gain.value)).removeprefix("+")
    verb = "neither gains nor loses" if amount == "0.0" else "gains" if gain.value > 0 else "loses"
    much = "" if amount == "0.0" else f" {amount} points"
    return f"{verb}{much}{on} (95&nbsp;% interval {gain_limits(gain.low, gain.high)})"


def _story(line: Headline) -> str:
    if line.trial is None:
        return "No trial of the search has finished yet."
    chosen = f"<strong>Trial {line.trial}</strong> was chosen on validation {_chosen_by(line)}."
    if line.accuracy is None:
        return f"{chosen} Test data has not been read for it."
    told = f"{chosen} On test images it reaches <strong>{per_cent(line.accuracy.value)}</strong> balanced accuracy"
    told += f" (95&nbsp;% interval from the images {limits(line.accuracy.low, line.accuracy.high)})"
    if line.naive is not None:
        told += f", {_points_apart(line.naive)} the naive baseline"
    if line.baseline is not None:
        rival = escape_html(role_label(line.baseline.role))
        told += f" and {_points_apart(line.baseline)} {rival}, of the other baselines the best on validation"
    return told + "."


def _chosen_by(line: Headline) -> str:
    """How the trial was chosen: as the best of the search, or by its mean over seeds."""
    objective, searched = escape_html(line.objective), count(line.searched, "finished trial")
    several = line.confirmed
    if several is None:
        return f"({objective} {per_cent(line.value)}, the best of {searched} of the search{_ties(line)})"
    mean = mean_and_deviation(*several.objective)
    told = f"by its mean over {_runs(several)}: {objective} <strong>{mean}</strong>"
    if line.rivals:
        others = listed([f"trial {one.trial} {mean_and_deviation(*one.objective)}" for one in line.rivals])
        told += f", the highest of {len(line.rivals) + 1} configurations ({others}{_ties(line)})"
    return (
        f"{told}. The one run by which it came among {searched} of the search had {per_cent(several.single)}, "
        "and a run that a search prefers is a lucky one"
    )


def _runs(choice: Choice) -> str:
    """The seeds of a choice: `seeds 0 and 1 (1 more failed)`."""
    failed = f" ({choice.failed} more failed)" if choice.failed else ""
    return f"seeds {listed([str(seed) for seed in choice.seeds])}{failed}"


def _ties(line: Headline) -> str:
    if line.tied < 2:
        return ""
    return f"; {line.tied:,} share this value, and of them the one with the most balanced norms was taken"


def _points_apart(other: Compared) -> str:
    side = "above" if other.gain.value >= 0 else "below"
    return f"{points(abs(other.gain.value)).removeprefix('+')} points {side}"


def _fresh_sentence(line: Headline) -> str:
    """The sentence on fresh seeds: the figure to quote for the configuration."""
    fresh = line.fresh
    over = fresh.of("test.balanced_accuracy") if fresh else None
    if fresh is None or over is None:
        return ""
    rare = fresh.of(f"test.{line.rarest}")
    also = f" ({_SHOT[line.rarest].replace('ones', 'classes')} {mean_and_deviation(*rare)})" if rare else ""
    return (
        f"Trained again with seeds {_seeds(fresh)}, the same configuration reaches "
        f"<strong>{mean_and_deviation(*over)}</strong> on test{also}: mean and standard deviation over seeds, "
        f"{_part_in_the_choice(line, fresh)}. It is the figure to quote for the configuration; the interval above is "
        "of one run and of its images alone."
    )


def _part_in_the_choice(line: Headline, fresh: Fresh) -> str:
    """Which of the seeds the choice knew, by their validation figures."""
    chose = [seed for seed in fresh.seeds if line.confirmed and seed in line.confirmed.seeds]
    if not chose:
        return "which no choice was made by"
    which = "which" if len(chose) == len(fresh.seeds) else f"of which {listed([str(seed) for seed in chose])}"
    return f"{which} had a part in the choice among {count(len(line.rivals) + 1, 'configuration')}, on validation alone"


def _seeds(fresh: Fresh) -> str:
    return listed([str(seed) for seed in fresh.seeds])


def _chosen_settings(page: Page) -> str:
    settings = ", ".join(f"<code>{escape_html(name)}</code>&nbsp;{escape_html(value)}" for name, value in page.chosen)
    told = [f"Its settings: {settings}."] if settings else []
    if page.slopes is not None:
        best, naive = (f"{slope:+.2f}".replace("-", "−") for slope in page.slopes)
        shown = listed(
            [str(page.place(name)) for name in ("accuracy_vs_balance", "classifier_norms", "norm_evolution")]
        )
        told.append(
            f"Its classifier's norms have slope {best} on class size, the naive one's {naive}; 0 is balanced, and "
            f"above it common classes have the longer weight vectors (figures {shown})."
        )
    return " ".join(told)


def _cards(line: Headline) -> Iterable[str]:
    if line.accuracy is not None:
        yield _card(
            per_cent(line.accuracy.value),
            "best on test, one run; 95&nbsp;% interval from the images "
            f"{limits(line.accuracy.low, line.accuracy.high)}",
            mark="best",
        )
    elif line.value is not None:
        yield _card(per_cent(line.value), f"best: {escape_html(line.objective)}", mark="best")
    yield from _fresh_card(line)
    if line.confirmed is not None:
        one = line.confirmed
        label = f"{escape_html(line.objective)}: mean ± standard deviation over {_runs(one)}, by which best was chosen"
        yield _card(mean_and_deviation(*one.objective), f"{label}; its run in the search {per_cent(one.single)}")
    if line.rarest_accuracy is not None:
        rare = line.rarest_accuracy
        yield _card(per_cent(rare.value), f"best on test, {line.rarest}-shot classes, {limits(rare.low, rare.high)}")
    for other in (line.naive, line.baseline):
        if other is not None:
            gain = gain_limits(other.gain.low, other.gain.high)
            over = f"points over {escape_html(role_label(other.role))} ({per_cent(other.accuracy.value)})"
            yield _card(points(other.gain.value), f"{over}, 95&nbsp;% interval {gain}")
    rest = [f"{number:,} {word}" for word, number in (("pruned", line.pruned), ("running", line.running)) if number]
    rest += [f"{line.never_asked:,} never asked for"] if line.never_asked else []
    done = f"trial{'' if line.complete == 1 else 's'} complete, {line.failed:,} failed"
    yield _card(f"{line.complete:,}", ", ".join([done, *rest, count(line.backbones, "backbone")]))
    seeds = ", without fresh seeds" if line.fresh else ""
    yield _card(
        duration(3600 * line.elapsed_hours),
        f"of work, {duration(3600 * line.trained_hours)} of training{seeds}; study {escape_html(line.state)}",
    )
    yield _card(escape_html((line.data_fingerprint or "unknown")[:12]), "data fingerprint")


def _fresh_card(line: Headline) -> Iterable[str]:
    over = line.fresh.of("test.balanced_accuracy") if line.fresh else None
    if line.fresh is not None and over is not None:
        label = f"the same with fresh seeds {_seeds(line.fresh)}: mean ± standard deviation over seeds, on test"
        yield _card(mean_and_deviation(*over), label, mark="best")


def _card(value: str, label: str, *, mark: str = "") -> str:
    return f'<div class="card {mark}"><b>{value}</b><span>{label}</span></div>'
