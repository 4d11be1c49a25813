"""The frame of every page of the lab: title, navigation, style sheets and scripts, all in one file.

A page may do nothing but what the scripts in it do: its content security policy names each script and style sheet by
hash, and allows no request at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.report.html import embed
from orchestrator.report.text import clean, plural, seconds, size

MAX_TEXT = 4000  # characters of one text on a page


@dataclass(frozen=True)
class Link:
    """An entry of the navigation: a place in the same page."""

    anchor: str  # without "#"
    text: str


@cache
def environment() -> Environment:
    """Jinja with our templates, each compiled once. Every text that a template prints is cleaned, then escaped."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_harmless,
    )  # fmt: skip
    made.filters |= {"size": size, "seconds": seconds, "plural": plural, "code": prose}
    return made


def prose(text: str) -> Markup:
    """Text, cleaned and escaped, with what stands `between backticks` as code."""
    parts = clean(text, MAX_TEXT).split("`")
    if len(parts) % 2 == 0:  # a backtick without its twin
        parts = ["`".join(parts)]
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if place % 2 else part for place, part in enumerate(parts))


def _harmless(value: object) -> object:
    return clean(value, MAX_TEXT) if isinstance(value, str) and not isinstance(value, Markup) else value


def render(template: str, **values: Any) -> Markup:
    """A part of a page from a template of ours."""
    return Markup(environment().get_template(template).render(**values))


def document(
    title: str, body: Markup, nav: Sequence[Link] = (), styles: Sequence[str] = (), scripts: Sequence[str] = ()
) -> str:
    """A whole page, with ``core.css`` and ``core.js`` and the assets named, in that order."""
    sheets = [embed.asset(name) for name in ("core.css", *styles)]
    code = [embed.asset(name) for name in ("core.js", *scripts)]
    policy = "; ".join((
        "default-src 'none'", "base-uri 'none'", "form-action 'none'",
        "style-src " + " ".join(map(embed.digest, sheets)), "script-src " + " ".join(map(embed.digest, code)),
    ))  # fmt: skip
    return str(render("shell.html", title=title, body=body, nav=nav, sheets=sheets, code=code, policy=Markup(policy)))
