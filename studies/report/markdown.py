"""Untrusted text in Markdown: shown literally, never as a link, an image, a heading, another cell, or HTML."""

from __future__ import annotations

import re

from search_spaces.problems import printable

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SIGN = re.compile(r"[&<>\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK = re.compile(r"^(?:[-+=#]|\d+(?=[.)]))")  # starts of lists, headings and rules
_CLOSING = re.compile(r"(?<= )#+$")  # ends of headings
_ADDRESS = re.compile(r"(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)", re.IGNORECASE)
_JOINER = "\u2060"  # invisible; viewers link bare addresses after resolving escapes


def escape(text: object) -> str:
    """Text for a paragraph, list item, heading or table cell; line breaks become blanks.

    A bare address (`www.`, `http://`, `a@b`) gets an invisible word joiner, so that no viewer links it.
    """
    line = _SIGN.sub(lambda sign: _HTML.get(sign[0], f"\\{sign[0]}"), _one_line(text))
    line = _CLOSING.sub(r"\\\g<0>", _BLOCK.sub(_unblocked, line))
    return _ADDRESS.sub(_JOINER, line)


def code(text: object) -> str:
    """The same as a code span, outside of tables."""
    line = _one_line(text)
    if not line:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def _one_line(text: object) -> str:
    return printable(" ".join(str(text).split()))


def _unblocked(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"
