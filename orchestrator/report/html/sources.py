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
    r"|(?P<page>(?<![\w/.:-])[a-z_][\w-]{1,40})\((?P<section>[1-8])\)"
    r"|(?P<function>(?<![\w/.:>-])[A-Za-z_]\w{1,60})\(\)",
)


@dataclass(frozen=True)
class Part:
    """Text, with the address that it leads to; "" is none."""

    text: str
    url: str = ""


def linked(text: str, release: str, glibc: str) -> list[Part]:
    """The text in parts. ``release`` of the kernel and ``glibc`` choose which version of a file is shown. A function is
    that of the file named between the same semicolons; where that is of neither or of both it has no link."""
    series = re.match(r"\d{1,2}\.\d{1,3}", release)
    versions = (f"{ELIXIR}/linux/{f'v{series[0]}' if series else 'latest'}",
                f"{ELIXIR}/glibc/{f'glibc-{glibc}' if re.fullmatch(r'2[.][0-9]{1,2}', glibc) else 'latest'}")
    parts, end = [], 0
    for match in _WORD.finditer(text):
        if match.start() > end:
            parts.append(Part(text[end : match.start()]))
        parts.append(Part(match[0], _url(match, *versions)))
        end = match.end()
    return [*parts, Part(text[end:])] if end < len(text) else parts


def _url(match: re.Match[str], kernel: str, glibc: str) -> str:
    """The address that a word leads to, in these versions of kernel and glibc; "" for none."""
    if match["url"]:
        return match["url"]
    if match["commit"]:
        after = match.string[match.end() :].partition(";")[0]
        if re.match(r"[^;]{0,80}?\b2\.[1-9]\d\b", after):
            return f"https://sourceware.org/git/?p=glibc.git;a=commit;h={match['commit']}"
        return f"https://git.kernel.org/torvalds/c/{match['commit']}"
    if match["kernel"]:
        return f"{kernel}/source/{match['kernel']}"
    if match["glibc"]:
        return f"{glibc}/source/{match['glibc']}"
    if match["function"]:
        clause = match.string[match.string.rfind(";", 0, match.start()) + 1 :].partition(";")[0]
        named = {one.lastgroup for one in _WORD.finditer(clause)}
        places = [place for group, place in (("kernel", kernel), ("glibc", glibc)) if group in named]
        return f"{places[0]}/A/ident/{match['function']}" if len(places) == 1 else ""
    return f"https://man7.org/linux/man-pages/man{match['section']}/{match['page']}.{match['section']}.html"
