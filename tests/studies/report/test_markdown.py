"""Text of others in Markdown is read as it was written, and is nothing but text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.report.markdown import code, escape
from tests.support.rendered import HOSTILE, JOINER, as_read, rendered

PLACES = {  # the elements that the place itself makes
    "{}": ["p"], "before {} after": ["p"], "- {}": ["ul", "li"], "# {}": ["h1"], "**x** {}": ["p", "strong"],
    "| a | b |\n|---|---|\n| {} | 1 |": ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"],
}  # fmt: skip


def check(text):
    for place, elements in PLACES.items():
        page = rendered(place.format(escape(text)))
        assert page.elements == (elements if place != "{}" or text.split() else []), (place, text)
        assert page.attributes == []
        if "a | b" not in place:
            assert as_read(text).strip() in page.text.replace(JOINER, ""), (place, text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_wherever_it_stands(text):
    check(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_in_a_code_span_it_is_the_text_itself(text):
    page = rendered(f"a {code(text)} b")
    assert page.elements == (["p", "code"] if text.split() else ["p"])
    assert as_read(text) in page.text
    assert JOINER not in page.text


@pytest.mark.parametrize("text", ["1 #", "a ##", "#", "# #", "a#", "a \\#"])
def test_a_heading_does_not_swallow_the_signs_at_its_end(text):
    check(text)


SIGNS = st.text(st.sampled_from("ab1 \n\t`*_[]()<>|\\~#+-=.!:/@&;$wx\u2028\x00\xa0"), max_size=24)


@settings(max_examples=100, deadline=None)
@given(SIGNS)
def test_any_signs_are_text(text):
    check(text)
    assert rendered(f"a {code(text)} b").elements in (["p"], ["p", "code"])


def test_what_is_harmless_stays_as_it_is():
    for text in (
        "cat",
        "great white shark",
        "stage1.weight_decay",
        "val.balanced_accuracy 87.0 %",
        "naïve, Übung",
        "a-b",
    ):
        assert escape(text) == text
        assert code(text) == f"`{text}`"
