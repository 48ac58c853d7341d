"""What the data cannot tell, however long one trains: sentences about classes that are too small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from studies.findings.intervals import wilson
from studies.wording import count
from tuner.survey.survey import ClassSeen, Survey, named

_TOO_FEW_TO_MEASURE = 10  # test images; below, one image is more than ten points of recall


def doubts(found: Survey) -> list[str]:
    """One sentence a kind of doubt, the gravest first."""
    lines = [*_contradicted(found), *_copied(found)]
    if found.refusal is None:
        lines += [*_alone(found.classes), *_unvalidated(found.classes), *_unmeasured(found.classes), *_groups(found)]
    return lines


def _alone(classes: Sequence[ClassSeen]) -> Iterator[str]:
    single = [one.name for one in classes if one.train == 1]
    if single:
        yield (
            f"{_has(single, '1 training image')}: what a network learns of "
            f"{'it' if len(single) == 1 else 'them'} is that picture, and nothing can be said about others"
        )


def _unvalidated(classes: Sequence[ClassSeen]) -> Iterator[str]:
    without = [one.name for one in classes if not one.val]
    if without:
        yield (
            f"{_has(without, 'no validation image')}, so the choice of a configuration cannot consider "
            f"{'it' if len(without) == 1 else 'them'}; validation is cut from classes of 4 images or more"
        )


def _unmeasured(classes: Sequence[ClassSeen]) -> Iterator[str]:
    without = [one.name for one in classes if not one.test]
    if without:
        yield f"{_has(without, 'no test image')}: no accuracy of {'it' if len(without) == 1 else 'them'} will be known"
    small = sorted((one for one in classes if 0 < one.test < _TOO_FEW_TO_MEASURE), key=lambda one: one.test)
    if small:
        least = small[0]
        right = "its one image is" if least.test == 1 else f"all {least.test} images are"
        yield (
            f"{_has([f'{one.name} ({one.test})' for one in small], 'few test images')}: even if {right} recognised, "
            f"the recall of {least.name} may be anything from {100 * wilson(least.test, least.test).low:.0f} to 100 %"
        )


def _groups(found: Survey) -> Iterator[str]:
    empty = [group for group, classes in found.groups.items() if not classes]
    if not empty:
        return
    largest, smallest = found.classes[0].train, found.classes[-1].train
    yield (
        f"no class is in {' and '.join(map(repr, empty))} with task.many={found.many} and task.few={found.few}, for "
        f'classes have {smallest:,} to {largest:,} training images; its accuracy will be "none"'
    )


def _contradicted(found: Survey) -> Iterator[str]:
    wrong = found.copies.contradictions
    if wrong:
        more = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        yield f"{count(len(wrong), 'image')} {'is' if len(wrong) == 1 else 'are'} under two labels: {wrong[0]}{more}"


def _copied(found: Survey) -> Iterator[str]:
    if found.copies.extra:
        across = f"; {count(found.copies.across, 'image')} of them in two splits" if found.copies.across else ""
        yield f"{count(found.copies.extra, 'image')} repeat another one byte by byte{across}"


def _has(names: Sequence[str], what: str) -> str:
    """`a and b have no test image`."""
    return f"{named(list(names))} {'has' if len(names) == 1 else 'have'} {what}"
