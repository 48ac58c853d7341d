"""Importances of parameters by PED-ANOVA; the figure names the method and the number of trials."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import optuna
import plotly.graph_objects as go
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState, create_trial

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.study_data import StudyData

METHOD = "PED-ANOVA"
_LEAST_TRIALS = 10  # trials, so that the best tenth is at least one


class ImportancesInfo(NamedTuple):
    """Shares that add up to 1, the largest first."""

    trials: int
    backbones: int
    names: tuple[str, ...]
    shares: tuple[float, ...]


def importances_info(data: StudyData) -> ImportancesInfo | Absent:
    searched = data.space.searched
    # only parameters that every trial has; `slices` shows the conditional ones
    params = [data.params(row) for row in data.searched]
    names = [name for name in searched if all(name in values for values in params)]
    if len(data.searched) < _LEAST_TRIALS or len(names) < 2:
        return Absent(
            f"{METHOD} needs at least {_LEAST_TRIALS} finished trials and two parameters that all of them have."
        )
    distributions = {name: searched[name] for name in names}
    with _without_optuna_log():
        study = optuna.create_study(direction="maximize")
    study.add_trials(
        create_trial(
            state=TrialState.COMPLETE,
            value=row.value,
            params={name: values[name] for name in names},
            distributions=distributions,
        )
        for row, values in zip(data.searched, params, strict=True)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Target and region quantiles")  # few trials, or many alike: shares are rough
        shares = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=names)
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    backbones = len({row.backbone_index for row in data.searched})
    return ImportancesInfo(
        len(data.searched), backbones, tuple(n for n, _ in ordered), tuple(round(float(s), 6) for _, s in ordered)
    )


@contextmanager
def _without_optuna_log() -> Iterator[None]:
    """Silences Optuna's announcement of the temporary study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def draw_importances(info: ImportancesInfo) -> go.Figure:
    figure = style.figure(height=130 + 38 * len(info.names), barmode="overlay")
    for stage, look in (("stage1", style.patterned(style.BLUE, "")), ("stage2", style.patterned(style.ORANGE, "/"))):
        own = [(n, share) for n, share in zip(info.names, info.shares, strict=True) if n.startswith(f"{stage}.")]
        figure.add_bar(
            name=stage.replace("stage", "stage "),
            y=[style.plotly_text(name) for name, _ in own],
            x=[share for _, share in own],
            orientation="h",
            marker=look,
            texttemplate="%{x:.0%}",
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    reach = max(0.05, 1.12 * max(info.shares))
    figure.update_xaxes(title=f"{METHOD}, n = {info.trials}", tickformat=".0%", range=[0, reach])
    order = [style.plotly_text(name) for name in reversed(info.names)]
    figure.update_yaxes(showgrid=False, categoryorder="array", categoryarray=order)
    return figure


def importances_table(info: ImportancesInfo) -> Table:
    return Table(("parameter", f"importance ({METHOD})"), tuple(zip(info.names, info.shares, strict=True)))


def importances_caption(info: ImportancesInfo) -> str:
    return (
        f"{METHOD} (Watanabe et al., IJCAI 2023): how much the distribution of a parameter among the best tenth of "
        f"{info.trials:,} trials differs from that among all. The trials share {info.backbones} backbones, so stage 1 "
        "was tried less often than n says. Weight decay and radius can replace each other; then one of the two looks "
        "unimportant. Another method may give other shares."
    )


IMPORTANCES = Figure(
    name="importances",
    title="Which parameters mattered",
    info=importances_info,
    draw=draw_importances,
    table=importances_table,
    caption=importances_caption,
)
