"""The end of the report: failures, how to run the study again, and a glossary."""

from __future__ import annotations

from collections.abc import Mapping

from studies.figures.figure import Table
from studies.report.page import Page, escape_html, table_html
from studies.wording import count, role_label

_BASELINES: Mapping[str, str] = {
    "naive": "one training with cross-entropy and no weight decay, with its own classifier; nothing is tuned for it, "
    "and the other searched settings are in the middle of their ranges",
    "weight_decay": "the best of the search's backbones with its stage-1 classifier: a tuned weight decay, and no "
    "second stage",
    "l2_norm": "that classifier with every row scaled to length 1",
    "tau_norm": "that classifier with every row divided by its length to the power τ, τ chosen on validation; 1 is the "
    "L2-norm, and above 1 rare classes have the longer rows (Kang et al. 2020)",
    "logit_adjustment": "that classifier with τ times the logarithm of a class's share of the images taken from its "
    "logit (Menon et al. 2021)",
    "logit_adjustment_mul": "that classifier with its logits multiplied by the class's share to the power −τ (Hasegawa "
    "and Sato 2024)",
    "ncm": "no classifier: the class whose mean feature is nearest",
}
_WORDS: Mapping[str, str] = {
    "weight balancing": "stage 2 of Alshammari et al. (CVPR 2022): on frozen features the classifier is trained on "
    "with a class-balanced loss, a weight decay of its own and the MaxNorm constraint",
    "MaxNorm radius": "no row of the classifier may be longer; in multiples of the median row length that stage 1 "
    "left, unless radius_unit says otherwise",
    "backbone": "one trained network, the result of stage 1",
    "head": "one classifier on a backbone, the result of stage 2; a trial is one head with its backbone",
    "slope": "of the logarithm of a class's classifier norm on the logarithm of its training images: above 0 common "
    "classes have the longer rows, at 0 norms are balanced, below 0 rare classes have the longer ones",
    "balanced accuracy": "the mean of the classes' recalls, so that a rare class counts as much as a common one",
    "95 % interval": "what the number of images of each class allows (Wilson; differences as if on different images); "
    "it does not include the spread over seeds",
    "fresh seeds": "the chosen configuration, trained again with other seeds after the search",
    "confirmed": "the best configurations of the search, one a backbone, trained with several seeds; the highest mean "
    "on validation is chosen",
    "data fingerprint": "a hash of images, labels and splits: equal hashes mean equal data",
}


def failed(page: Page) -> str:
    """Failed trials, one row per job and reason, and the trials that never ran."""
    parts = ['<section><h2 id="failures">Failed trials</h2>']
    number = page.headline.failed
    if page.never_asked:
        parts.append(f"<p>{escape_html(page.never_asked)}</p>")
    if number:
        are = "is" if number == 1 else "are"
        parts.append(
            f"<p>{count(number, 'trial')} failed and {are} left out above. Trials of one job that failed alike "
        )
        parts.append(f"are one row; {escape_html(page.tables)}/failures.csv has each.</p>")
        parts.append(table_html(page.failures, "Failed trials"))
    elif not page.never_asked:
        parts.append("<p>None.</p>")
    return "".join(parts) + "</section>"


def again(page: Page) -> str:
    """The requirements, the chosen configuration, and the whole search."""
    study = escape_html(page.headline.study)
    parts = ['<section><h2 id="again">How to run it again</h2><dl class="needs">']
    for need in page.needs:
        command = f"<br><code>{escape_html(need.command)}</code>" if need.command else ""
        parts.append(f"<dt>{escape_html(need.what)}</dt><dd>{escape_html(need.words)}{command}</dd>")
    parts.append("</dl>")
    if page.best_yaml is not None:
        parts.append(
            "<p><strong>The chosen configuration.</strong> Save the text below as <code>best.yaml</code> (it was "
            "written beside a finished study). <code>--check</code> ends with an error if a figure is outside its "
            "tolerance or the data differs.</p><pre><code>tuner train best.yaml --check</code></pre>"
        )
        parts.append(_file_text("best.yaml", page.best_yaml))
    parts.append(
        f"<p><strong>The whole search.</strong> Save the text below as <code>{study}.yaml</code>; it has sampler and "
        f"seed.</p><pre><code>tuner launch --space {study}.yaml</code></pre>"
    )
    parts.append(_file_text(f"{page.headline.study}.yaml, the search space", page.space_yaml))
    return "".join(parts) + "</section>"


def _folded(title: str, table: Table) -> str:
    return f"<details><summary>{escape_html(title)}</summary>{table_html(table, title)}</details>"


def _file_text(name: str, content: str) -> str:
    told = f'<pre class="file"><code>{escape_html(content)}</code></pre>'
    return f"<details open><summary>{escape_html(name)}</summary>{told}</details>"


def settings(page: Page) -> str:
    """Configuration, provenance and glossary."""
    searched, rest = (
        Table(page.configuration.columns, tuple(row for row in page.configuration.rows if bool(row[2]) == wanted))
        for wanted in (True, False)
    )
    parts = ['<section><h2 id="configuration">Configuration and provenance</h2>']
    parts.append("<p>What was searched, and the values of the chosen trial.</p>")
    parts.append(table_html(searched, "The chosen configuration: what was searched"))
    if page.spaces is not None:
        parts.append(
            f"<p>The space of this study grew. The trials of each space are in {escape_html(page.tables)}/trials.csv, "
            "column space; what is searched, above, is the widest.</p>"
        )
        parts.append(table_html(page.spaces, "The spaces of the study"))
    parts.append(_folded(f"{count(len(rest.rows), 'setting')} more that had a part in the result", rest))
    parts.append(_folded("Provenance: code, data and versions", page.provenance) + "</section>")
    parts.append('<section><h2 id="words">Words</h2><dl class="words">')
    words = {role_label(role): _BASELINES[role] for role in page.baselines if role in _BASELINES} | dict(_WORDS)
    if page.headline.confirmed is None:
        del words["confirmed"]
    parts += [f"<dt>{escape_html(word)}</dt><dd>{escape_html(meaning)}.</dd>" for word, meaning in words.items()]
    many, few = page.thresholds
    parts.append(
        f"<dt>many, medium, few</dt><dd>classes with more than {many}, {few} to {many}, and fewer than {few} training "
        "images.</dd></dl></section>"
    )
    parts.append(
        '<footer class="soft"><p>Accuracies in tables are fractions. Every number comes from the study database; '
        f"{escape_html(page.tables)}/ holds them as CSV, {escape_html(page.as_json)} all of them in one file.</p>"
        "</footer>"
    )
    return "".join(parts)
