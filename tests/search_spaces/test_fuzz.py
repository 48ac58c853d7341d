"""Whatever comes in, only a Space or a SpaceError comes out."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import Space, SpaceError, loads, shipped
from search_spaces.document import decode_text

FILES = [resources.files("search_spaces").joinpath(f"{name}.yaml").read_bytes() for name in shipped()]
PIECES = [
    b"&a ", b"*a", b"!!python/object:os.system ", b"!x ", b"!!float ", b"[", b"]", b"{", b"}", b": ", b":", b"- ",
    b"? ", b"\n", b"  ", b"\t", b"'", b'"', b"\\", b'"\\ud800"', b'"\\UFFFFFFFF"', b'"\\0"', b"\x00", b"\xff\xfe",
    b"\xe2\x80\xa8", b"\xc2\x85", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"---\n", b"...\n", b"%YAML 1.1\n",
    b"%TAG ! x\n", b"<<: ", b".nan", b".inf", b"1e999", b"9" * 5000, b"-0", b"1e-320", b"null", b"true", b"no",
    b"{low: 1, high: 2}", b"{choices: []}", b"{choices: [null]}", b"{low: 0, high: 1e300, step: 1e-300}",
    b", when: {stage2.method: crt}", b", when: [1]", b"|", b">", b"|-\n  x\n", b"#", b"@", b"`", b"2001-01-01",
    b"1_000", b"0o7", b"low", b"step: ", b"log: ", b"[" * 3000, b"{a: " * 500, b"- " * 3000,
]  # fmt: skip


def fuzzed(examples: int) -> settings:
    """The same examples on every machine, however busy it is."""
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
    )


def survives(text: str | bytes, *, overrides: Sequence[str] = (), name: str | None = None) -> None:
    """Reads `text`; checks what the errors say, or that everything can be asked of the space."""
    found = outcome(text, overrides=overrides, name=name)
    if isinstance(found, Space):
        answers(found)
        return
    assert found.problems
    for problem in found.problems:
        assert str(problem).isprintable()
        assert len(str(problem)) < 1_000
        assert "Input should" not in problem.message
        assert "cannot be used" not in problem.message  # a rule of pydantic's that has no words here


def outcome(text: str | bytes, *, overrides: Sequence[str], name: str | None) -> Space | SpaceError:
    try:
        text = decode_text(text, file="f") if isinstance(text, bytes) else text
        return loads(text, source="f", overrides=overrides, name=name)
    except SpaceError as error:
        return error


def answers(space: Space) -> None:
    again = loads(space.to_yaml())
    assert again == space
    assert again.sha256 == space.sha256
    assert set(space.searched) | set(space.fixed) >= set(space.corners()[0])


def mutated(seed: int) -> bytes:
    """A shipped file after one to six accidents."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(FILES))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        accident = chance.choice(["insert", "insert", "replace", "truncate", "flip", "copy", "delete"])
        if accident == "insert":
            data[at:at] = chance.choice(PIECES)
        elif accident == "replace":
            data[at : at + chance.randint(1, 9)] = chance.choice(PIECES)
        elif accident == "truncate":
            del data[at:]
        elif accident == "flip":
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif accident == "copy":
            start = chance.randrange(len(data) + 1)
            data[at:at] = data[start : start + chance.randint(1, 300)]
        else:
            del data[at : at + chance.randint(1, 60)]
    return bytes(data)


@fuzzed(250)
@given(st.integers(min_value=0, max_value=2**32))
def test_shipped_files_after_accidents(seed: int) -> None:
    survives(mutated(seed))


@fuzzed(150)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    survives(data)


@fuzzed(150)
@given(st.text(alphabet="ab1.:-?[]{},&*!|>'\"%@`# \n\\x\u2028\ufeffé", max_size=200))
def test_any_text_of_yamls_own_letters(text: str) -> None:
    survives(text.encode())


KEYS = st.sampled_from(["low", "high", "choices", "when"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["crt", "ce", "low", "", "é", "~"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=6,
)


@fuzzed(250)
@given(
    st.sampled_from(["stage1.lr", "stage2.method", "stage2.epochs", "stage2.maxnorm_radius", "task.data", "stage1",
                     "budget", "refine", "baselines", "name", "version", "stage2.lr.low", "stage2.lr.when.task.few"]),
    values,
)  # fmt: skip
def test_any_value_anywhere(key: str, value: object) -> None:
    survives(FILES[-1], overrides=[f"{key}={value!r}".replace("None", "null")])


@fuzzed(100)
@given(st.text(max_size=60))
def test_any_override(text: str) -> None:
    survives(FILES[0], overrides=[text], name=text[:8] or None)


@pytest.mark.slow
def test_ten_thousand_spaces_after_accidents() -> None:
    for seed in range(10_000):
        survives(mutated(seed))


@pytest.mark.parametrize(
    "seeds", [range(0, 10_000, 200), pytest.param(range(0, 10_000, 10), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_the_command_refuses_a_fuzzed_space_with_a_documented_code_and_the_database_still_opens(
    seeds: range, kept_home: Path, command: Callable[..., tuple[int, str]], studies_in: Callable[[Path], list[str]]
) -> None:
    codes = Counter[int]()
    for seed in seeds:
        file = kept_home.parent / "space.yaml"
        file.write_bytes(mutated(seed))
        checked, _ = command("check", str(file))
        codes[checked] += 1
        assert checked in (0, 1, 2), seed  # 1: a space that can be, on data that are not there
        if isinstance(outcome(file.read_bytes(), overrides=(), name=None), SpaceError):
            assert checked == 2, seed
        if checked:  # the others would be trained
            launched, _ = command("launch", "--space", str(file), "--home", str(kept_home))
            assert launched == checked, seed
    assert codes[2] > len(seeds) / 2, "the accidents are too mild"
    assert codes[0] + codes[1] > len(seeds) / 50, "the accidents are too hard"
    assert studies_in(kept_home) == ["kept"]
