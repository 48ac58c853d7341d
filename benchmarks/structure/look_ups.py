"""Places that reach into a job's result by a string key.

Counted, in tuner/ and studies/: lines that read `x["key"]`, `x.get("key")`, `"key" in x` or `"key" not in x`, for a key
that names a field of trainers/results.py or of the bridge's report. A line counts once.

Not counted, by what is looked into:
- the codec, a file named messages.py: it is the one place that may;
- other things that have such keys, by a name along `a.b["c"]` (`NO_RESULTS`): a row of SQL, the machine's hardware, the
  manifest of a cache entry, the provenance of an exported file; and a variable that such a thing is assigned to;
- the functions that print what a command gives as JSON (`PRINTERS`): their keys are the command's, not a result's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from benchmarks.structure.source import Figure, Module

FIELDS = {
    "JobResult": "backbone heads",
    "BackboneResult": "fingerprint config data_fingerprint class_names train_counts metrics norms epochs posthoc "
    "parameters device seconds cached notes",
    "HeadResult": "config metrics classes norms temperature epochs notes seconds",
    "HeadFailure": "config reason",
    "ClassCounts": "correct total",
    "EpochResult": "epoch metrics norms",
    "Progress": "stage epoch epochs metrics images_per_second",
    "the bridge's report": "outcome failure transient progress ends_launch",
}
KEYS = frozenset(" ".join(FIELDS.values()).split())
NO_RESULTS = frozenset({"row", "rows", "hardware", "manifest", "provenance"})
PRINTERS = frozenset({"best_table", "cache_entry", "cache_table"})
CODEC = "messages.py"


def figure(product: Sequence[Module]) -> Figure:
    """The look-ups of tuner/ and studies/ outside the codec."""
    places: dict[str, list[str]] = {}
    for module in product:
        if module.path.startswith(("tuner/", "studies/")) and not module.path.endswith(f"/{CODEC}"):
            for node in _look_ups(module.tree, NO_RESULTS):
                places.setdefault(module.place(node), []).append(ast.unparse(node))
    listed = tuple(f"{place}  {', '.join(found)}" for place, found in places.items())
    return Figure(name="string look-ups into results", value=len(places), places=listed)


def _look_ups(tree: ast.AST, others: frozenset[str]) -> Iterator[ast.AST]:
    """The look-ups below a node; `others` are the names of what is no result."""
    if isinstance(tree, ast.FunctionDef):
        others |= _assigned(tree, others)
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name in PRINTERS:
            continue
        found = _look_up(node)
        if found and found[0] in KEYS and not _names(found[1]) & others:
            yield node
        yield from _look_ups(node, others)


def _assigned(function: ast.FunctionDef, others: frozenset[str]) -> set[str]:
    """The variables of a function that something is assigned to which is no result."""
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.Assign) and _names(node.value) & others]
    return {target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)}


def _look_up(node: ast.AST) -> tuple[object, ast.expr] | None:
    """The key and what it is looked up in, if the node is a look-up by a constant."""
    match node:
        case ast.Subscript(value=holder, slice=ast.Constant(value=key), ctx=ast.Load()):
            return key, holder
        case ast.Call(func=ast.Attribute(value=holder, attr="get"), args=[ast.Constant(value=key), *_]):
            return key, holder
        case ast.Compare(left=ast.Constant(value=key), ops=[ast.In() | ast.NotIn()], comparators=[holder]):
            return key, holder
    return None


def _names(holder: ast.expr) -> set[str]:
    """Every name along `a.b["c"].d`: a, b and d."""
    nodes = list(ast.walk(holder))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }
