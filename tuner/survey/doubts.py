"""What the data cannot tell, however long one trains: sentences about classes that are too small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from studies.findings.intervals import wilson
from studies.wording import count, listed
from tuner.survey.survey import ClassSeen, Survey

_NAMED = 4  # classes in a sentence
_TOO_FEW_TO_MEASURE = 10  # test images; below, one image is more than ten points of recall


def doubts(found: Survey) -> list[str]:
    """One sentence a kind of doubt, the gravest first."""
    lines = [*_unreadable(found), *_paged(found), *_contradicted(found), *_copied(found)]
    if found.refusal is None:
        small = (*_alone(found.classes), *_unvalidated(found.classes), *_unmeasured(found.classes))
        lines += [*small, *_groups(found)]
    return lines


def _alone(classes: Sequence[ClassSeen]) -> Iterator[str]:
    single = [one.name for one in classes if one.train == 1]
    if single:
        yield (
            f"{_have(single, classes)} 1 training image: what a network learns of {_them(single)} is that picture, "
            "and nothing can be said about others"
        )


def _unvalidated(classes: Sequence[ClassSeen]) -> Iterator[str]:
    without = [one.name for one in classes if not one.val]
    if without:
        yield (
            f"{_have(without, classes)} no validation image, so the choice of a configuration cannot consider "
            f"{_them(without)}; validation is cut from classes of 4 images or more"
        )


def _unmeasured(classes: Sequence[ClassSeen]) -> Iterator[str]:
    without = [one.name for one in classes if not one.test]
    if without:
        yield f"{_have(without, classes)} no test image: no accuracy of {_them(without)} will be known"
    small = sorted((one for one in classes if 0 < one.test < _TOO_FEW_TO_MEASURE), key=lambda one: one.test)
    if small:
        least = small[0]
        right = "its one image is" if least.test == 1 else f"all {least.test} images are"
        yield (
            f"{_have([f'{one.name} ({one.test})' for one in small], classes)} few test images: even if {right} "
            f"recognised, the recall of {least.name} may be anything from "
            f"{100 * wilson(least.test, least.test).low:.0f} to 100 %"
        )


def _groups(found: Survey) -> Iterator[str]:
    empty = [group for group, classes in found.groups.items() if not classes]
    if found.balanced:
        yield (
            f"there is no long tail: each class has {found.classes[0].train:,} training images; "
            "--set task.imbalance_factor=100 cuts one"
        )
    elif empty:
        largest, smallest = found.classes[0].train, found.classes[-1].train
        yield (
            f"no class is in {' and '.join(map(repr, empty))} with task.many={found.many} and task.few={found.few}, "
            f"for classes have {smallest:,} to {largest:,} training images"
        )


def _unreadable(found: Survey) -> Iterator[str]:
    wrong = found.images.unreadable
    if wrong:
        yield f"{count(len(wrong), 'image')} of {found.images.total:,} cannot be opened; the first: {wrong[0]}"


def _paged(found: Survey) -> Iterator[str]:
    paged = found.images.of_several
    if paged:
        what = "has" if paged == 1 else "have"
        yield f"{count(paged, 'image')} {what} several pages or frames, of which the first alone is read"


def _contradicted(found: Survey) -> Iterator[str]:
    wrong = found.copies.contradictions
    if wrong:
        more = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        yield f"{count(len(wrong), 'image')} {'is' if len(wrong) == 1 else 'are'} under two labels: {wrong[0]}{more}"


def _copied(found: Survey) -> Iterator[str]:
    if found.copies.extra:
        repeat = "repeats" if found.copies.extra == 1 else "repeat"
        across = f"; {found.copies.across:,} of them in two splits" if found.copies.across else ""
        yield f"{count(found.copies.extra, 'image')} {repeat} another one byte by byte{across}"


def _have(names: Sequence[str], classes: Sequence[ClassSeen]) -> str:
    """`a and b have`; of many names some, and how many there are."""
    if len(names) <= _NAMED:
        return f"{listed(list(names))} {'has' if len(names) == 1 else 'have'}"
    return f"{len(names):,} of {len(classes):,} classes ({', '.join(names[:_NAMED])}, …) have"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
