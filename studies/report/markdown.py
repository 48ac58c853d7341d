"""Text of others in Markdown: shown as it is, and never a link, an image, a heading, another cell, or HTML."""

from __future__ import annotations

import re

from search_spaces.problems import printable

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SIGN = re.compile(r"[&<>\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK = re.compile(r"^(?:[-+=#]|\d+(?=[.)]))")  # what makes a list, a heading or a rule of a line
_CLOSING = re.compile(r"(?<= )#+$")  # which a heading takes for its own end
_ADDRESS = re.compile(r"(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)", re.IGNORECASE)
_JOINER = "\u2060"  # cannot be seen; pages look for bare addresses after they have read all escapes


def escape(text: object) -> str:
    """Text as a part of a paragraph, a list item, a heading or a table cell; line breaks become blanks.

    An address that stands alone (`www.`, `http://`, `a@b`) gets an invisible word joiner, so that no page links it.
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
