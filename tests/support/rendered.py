"""What a page makes of Markdown: its elements, their attributes, and the text that is read."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![x](http://evil.example/p.png)",
    "&lt;b&gt; &#60;i", "[a](javascript:alert(1))", "[a]: http://evil.example", "[a][b]", "[^1]", "| pipe | cell",
    "a\\|b", "`tick`", "``", "```", "a\n\n# heading", "a\r\n---\r\nb", "# heading", "- item", "+ item", "1. item",
    "2) item", "> quote", "---", "===", "~~~", "~~gone~~", "*em* **strong** _em_ __strong__", "a_b_c", "<!-- comment",
    "<!-- a --> b", "<?php ?>", "<![CDATA[x]]>", "www.evil.example", "WWW.evil.example/a", "http://evil.example",
    "https://evil.example/?a=b&c", "ftp://evil.example", "<http://evil.example>", "<a@evil.example>",
    "mail a.b@evil.example", "mailto:a@evil.example", "\\", "\\<b>", "\\`a`", "$x$", "    indented", "\tindented",
    "[ ] task", "[x] task", "trailing \\", "a  \nb", "\u001b[31mred", "a\u202eb", "\u2028a", "--- | ---", ":--", "!",
    "![", "](", "</td></tr></table><script>", "&amp;", "&copy", "<b", "a<b>c", "{{ x }}", "",
)  # fmt: skip
JOINER = "\u2060"
_ADDRESS = re.compile(r"https?://|ftp://|www\.|[\w.+-]@\w", re.IGNORECASE)  # as GitHub and the dashboard find them


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._code = 0
        self.outside_code = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += attributes
        self._code += tag == "code"

    def handle_endtag(self, tag):
        self._code -= tag == "code"

    def handle_data(self, data):
        self.text += data
        self.outside_code += "" if self._code else data

    def handle_comment(self, data):
        self.elements.append("comment")

    handle_pi = handle_decl = unknown_decl = handle_comment


def rendered(text: str) -> _Page:
    """With HTML passed through, tables and strikethrough; no bare address may be left that a page would link."""
    page = _Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))
    assert not _ADDRESS.search(page.outside_code), page.outside_code
    return page


def as_read(text: str) -> str:
    """Hostile text as a reader shall see it: on one line, what cannot be printed in escapes."""
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
