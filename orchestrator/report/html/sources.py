"""The words of a ``source:`` with links: commits, files and functions of kernel and glibc, manual pages."""

from __future__ import annotations

import re
from dataclasses import dataclass

ELIXIR = "https://elixir.bootlin.com"
_KERNEL = "arch|block|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net|security|tools|Documentation"
_GLIBC = "malloc|elf|nptl|sysdeps|csu|stdlib|stdio-common|posix|misc|string|libio|allocatestack|dl-support"
_WORD = re.compile(
    r"(?P<url>https://[\w./%#?=&~+-]{1,300}[\w/])"
    r"|(?P<commit>(?<![\w/.-])(?=[0-9a-f]*[0-9])[0-9a-f]{12,40}(?![\w/-]))"
    rf"|(?P<kernel>(?<![\w/.-])(?:{_KERNEL})/[\w./+-]{{1,150}}\.(?:[chS]|rst|lds\.S))"
    rf"|(?P<glibc>(?<![\w/.-])(?:{_GLIBC})/[\w./+-]{{1,150}}\.[chS])"
    r"|(?P<page>(?<![\w/.:-])[a-z_][\w-]{1,40})\((?P<section>[1-8])\)",
)


@dataclass(frozen=True)
class Part:
    """Text, with the address that it leads to; "" is none."""

    text: str
    url: str = ""


def linked(text: str, release: str, glibc: str) -> list[Part]:
    """The text in parts. ``release`` of the kernel and ``glibc`` choose which version of a file is shown."""
    parts, end = [], 0
    for match in _WORD.finditer(text):
        if match.start() > end:
            parts.append(Part(text[end : match.start()]))
        parts.append(Part(match[0], _url(match, release, glibc)))
        end = match.end()
    return [*parts, Part(text[end:])] if end < len(text) else parts


def _url(match: re.Match[str], release: str, glibc: str) -> str:
    if match["url"]:
        return match["url"]
    if match["commit"]:
        after = match.string[match.end() :].partition(";")[0]
        if re.match(r"[^;]{0,80}?\b2\.[1-9]\d\b", after):
            return f"https://sourceware.org/git/?p=glibc.git;a=commit;h={match['commit']}"
        return f"https://git.kernel.org/torvalds/c/{match['commit']}"
    if match["kernel"]:
        series = re.match(r"\d{1,2}\.\d{1,3}", release)
        return f"{ELIXIR}/linux/{f'v{series[0]}' if series else 'latest'}/source/{match['kernel']}"
    if match["glibc"]:
        version = f"glibc-{glibc}" if re.fullmatch(r"2\.\d{1,2}", glibc) else "latest"
        return f"{ELIXIR}/glibc/{version}/source/{match['glibc']}"
    return f"https://man7.org/linux/man-pages/man{match['section']}/{match['page']}.{match['section']}.html"
