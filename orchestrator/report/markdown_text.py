"""Text of others in Markdown of GitHub's flavour: never a link, an image, a mention or markup. Pure."""

from __future__ import annotations

from orchestrator.report.text import clean

_PLAIN = " ,;/%=?:-+.'()"  # punctuation that means nothing inside a line


def plain(text: str, limit: int = 2000) -> str:
    """Text as text, in a paragraph, a cell or HTML: what Markdown or HTML could act on is an entity, and an address on
    the web or of a person is broken up. ``limit`` in characters."""
    found = "".join(char if char.isalnum() or char in _PLAIN or not char.isascii() else f"&#{ord(char)};"
                    for char in clean(text, limit))  # fmt: skip
    return found.replace("&#64;", "&#64;<!-- -->").replace("://", ":<!-- -->//").replace("www.", "www<!-- -->.")
