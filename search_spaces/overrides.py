"""`--set stage1.lr=0.01`: replaces or adds one value of a space before it is checked."""

from __future__ import annotations

from search_spaces.document import MAX_DEPTH, MappingEntry, Mark, Node, parse
from search_spaces.problems import Problem, SpaceError, printable, shortened

# taken literally: a path may contain `#` or `: `, or be a number; so may the name of a column
_TEXTS = ("name", "task.data", "task.model", "task.image_root", "task.suffix")
_COLUMNS = "task.columns."
_NOTHING = ("", "null", "~")


def override(root: Node, text: str) -> list[Problem]:
    """Puts `KEY=VALUE` into the tree, with VALUE parsed as YAML. Returns its problems."""
    key, equals, value = text.partition("=")
    key = key.strip()
    mark = Mark(f"--set {shortened(key)}")
    if not equals or not key or not key.isprintable() or key.count(".") > MAX_DEPTH:
        place = Mark(f"--set {shortened(printable(text))}")
        return [place.problem("", "must be KEY=VALUE, such as stage1.lr=0.01")]
    try:
        node, found = _value_node(key, value, mark)
    except SpaceError as error:
        return error.problems
    if isinstance(root.value, dict):
        _put_at(root.value, key.split("."), node, mark)
    return found


def _value_node(key: str, value: str, mark: Mark) -> tuple[Node, list[Problem]]:
    literal = key in _TEXTS or key.startswith(_COLUMNS)
    listed = key == "task.image_root" and value[:1] == "["
    if literal and not listed and value.isprintable() and value[:1] not in ("'", '"') and value not in _NOTHING:
        return Node(value, mark), []
    return parse(value, file=mark.file, positions=False, path=key)


def _put_at(block: dict[str, MappingEntry], path: list[str], node: Node, mark: Mark) -> None:
    *sections, last = path
    for name in sections:
        entry = block.get(name)
        if entry is None or not isinstance(entry.node.value, dict):
            entry = block[name] = MappingEntry(mark, Node({}, mark))
        block = entry.node.entries
    block[last] = MappingEntry(mark, node)
