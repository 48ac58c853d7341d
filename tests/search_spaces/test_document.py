"""Places, and what a document must not hold."""

import pytest

from search_spaces.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, decode_text, parse
from search_spaces.problems import SpaceError


def complaints(text: str) -> list[str]:
    try:
        return [str(problem) for problem in parse(text, file="f.yaml")[1]]
    except SpaceError as error:
        return [str(problem) for problem in error.problems]


def test_every_value_knows_its_place() -> None:
    root, problems = parse("a: 1\nb:\n  c: [x, 'no']\n", file="f.yaml")
    assert not problems
    assert root.plain() == {"a": 1, "b": {"c": ["x", "no"]}}
    inner = root.entries["b"].node.entries["c"]
    assert (inner.mark.line, inner.mark.column) == (3, 3)
    assert [(node.mark.line, node.mark.column) for node in inner.node.value] == [(3, 7), (3, 10)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: error: a: stands twice; the first is in line 1"),
        ("a: &x 1\n", "f.yaml:1:4: error: a: anchors (&x) are not allowed; write the value"),
        ("a: *x\n", "f.yaml:1:4: error: a: aliases (*x) are not allowed; write the value"),
        ("a: !!int 3\n", "f.yaml:1:4: error: a: tags (!!int) are not allowed; write the plain value"),
        (
            "a: !!python/object:os.system x\n",
            "f.yaml:1:4: error: a: tags (!!python/object:os.system) are not ",
        ),
        ("? [1, 2]\n: 3\n", "f.yaml:1:3: error: a key must be a word, but got a list"),
        ("a: 1\n--- \nb: 2\n", "f.yaml:2:1: error: holds a second document (---); a space is one"),
        ("%YAML 1.1\n---\na: no\n", "f.yaml:1:1: error: YAML directives (%) are not allowed"),
        ("a: b: c\n", "f.yaml:1:5: error: is not valid YAML: mapping values are not allowed here"),
        ("a: [1\n", "f.yaml:2:1: error: is not valid YAML: while parsing a flow sequence: expected ',' or ']', "),
        ("a: 1\n\tb: 2\n", "f.yaml:2:1: error: is not valid YAML: "),
        ("a: 1\nb: \x07\n", "f.yaml:2:4: error: is not valid YAML: holds the control character U+0007"),
        ('a: "\\0"\n', "f.yaml:1:4: error: a: holds a control character: '\\x00'"),
        ('a: "\\ud800"\n', "f.yaml:1:4: error: a: holds a control character: '\\ud800'"),
        ('a: "\\UFFFFFFFF"\n', "f.yaml:1:1: error: is not valid YAML after this place: "),
        ("a: 99999999999999999999\n", "f.yaml:1:4: error: a: an integer has at most 18 digits, but got 9999999999"),
    ],
)
def test_what_is_refused(text: str, complaint: str) -> None:
    found = complaints(text)
    assert found
    assert found[0].startswith(complaint), found


def test_a_bomb_of_aliases_stays_small() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
    assert any("aliases" in complaint for complaint in complaints(text))


def test_depth_number_and_size_are_limited() -> None:
    assert "nested deeper" in complaints("[" * 100_000)[-1]
    assert "nested deeper" in complaints("a: " + "{a: " * (MAX_DEPTH + 1))[-1]
    assert "more than 2,000 values" in complaints("- x\n" * (MAX_VALUES + 1))[-1]
    assert "characters long" in complaints("#" * (MAX_BYTES + 1))[-1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_are_read(encoding: str) -> None:
    assert decode_text("a: ä".encode(encoding), file="f") == "a: ä"


@pytest.mark.parametrize("data", [b"a: 1\nb: \xe4\n", "a: 1\nb: \u2713\n".encode("utf-16")[:-1]])
def test_encodings_that_are_not(data: bytes) -> None:
    with pytest.raises(SpaceError, match=r"^f:\d+:\d+: error: is not UTF-(8|16) text"):
        decode_text(data, file="f")


def test_the_place_of_a_byte_that_is_no_text() -> None:
    with pytest.raises(SpaceError, match=r"^f:2:4: error: is not UTF-8 text: byte 0xe4"):
        decode_text(b"a: 1\nb: \xe4\n", file="f")
