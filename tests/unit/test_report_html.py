"""The page's data without a browser: what is embedded, what is left out, and that nothing can break out of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile_run import BAD, hostile
from synthetic_run import FAILED, GREW, PAGE, Builder, Map, brk, heap

from orchestrator.inspection.moment import Run
from orchestrator.model import Ending, Evidence, Operand
from orchestrator.report import results
from orchestrator.report.html import address_space, embed, page, pictures, stack_growth
from orchestrator.report.html.excerpts import Excerpts
from orchestrator.report.html.sources import linked
from orchestrator.report.results import of_run
from orchestrator.rundir import RunDirectory

MANY = 0x7F0000000000


class Elements(HTMLParser):
    """What a parser sees in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]


def run_of(built: Builder) -> Run:
    return Run(built.directory, built.record)


def test_embedded_data_cannot_end_its_element() -> None:
    text = embed.data({BAD: [BAD, 7, None, True]})
    assert not set(text) & set("<>&\u2028\u2029\u202e\x1b\x00")
    assert json.loads(text).popitem()[1][1:] == [7, None, True]


def test_the_policy_allows_our_scripts_and_nothing_else(tmp_path: Path) -> None:
    built = brk(tmp_path / "run")
    html = page.render(of_run(built.record, built.directory.path))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy and "default-src 'none'" in policy[1] and "unsafe" not in policy[1]
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    assert len(scripts) == 1 + len(pictures.scripts())
    assert all(embed.digest(script) in policy[1] for script in scripts)
    assert " src=" not in html and "@import" not in html and "url(http" not in html


def test_rows_go_down_with_gaps_marks_and_what_went(tmp_path: Path) -> None:
    data = address_space.data(run_of(brk(tmp_path / "run")))
    assert data is not None
    grown, back = data["steps"][1], data["steps"][5]
    (heap_row,) = [row for row in grown["rows"] if "vma" in row and data["vmas"][row["vma"]][4] == "[heap]"]
    assert (heap_row["mark"], heap_row["says"]) == ("appeared", "4 KiB")
    assert grown["totals"]["mapped_by"] == PAGE
    (went,) = [row for row in back["rows"] if row.get("gone")]
    assert (data["vmas"][went["vma"]][4], went["says"]) == ("[heap]", "4 KiB")
    starts = [int(data["vmas"][row["vma"]][0], 16) for row in grown["rows"] if "vma" in row]
    assert starts == sorted(starts, reverse=True)
    mapped = sum(int(data["vmas"][r["vma"]][1], 16) - int(data["vmas"][r["vma"]][0], 16) for r in grown["rows"]
                 if "vma" in r)  # fmt: skip
    gaps = sum(row.get("gap", 0) for row in grown["rows"])
    assert mapped + gaps == 0xFFFFFFFFFF601000 - 0x565231985000


def test_many_mappings_are_folded_but_listed(tmp_path: Path) -> None:
    maps = [Map(MANY + index * 3 * PAGE, 4, "rw-p", "", 4) for index in range(500)]
    built = Builder(tmp_path / "run").at("start", heap(4)).at("many", heap(8), *maps)
    data = address_space.data(run_of(built))
    assert data is not None
    step = data["steps"][1]
    assert len([row for row in step["rows"] if not row.get("gap")]) < 3 * address_space.MAX_BARS
    folded = sum(row.get("fold", 0) for row in step["rows"])
    alone = sum("vma" in row for row in step["rows"])
    assert folded + alone == len(step["list"]) == 500 + 22
    assert any(data["vmas"][row["vma"]][4] == "[heap]" for row in step["rows"] if "vma" in row)


def test_the_tables_of_mappings_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_space, "MAX_LISTED", 3000)
    data = address_space.data(run_of(brk(tmp_path / "run")))
    assert data is not None
    counts = [len(step["list"]) for step in data["steps"]]
    assert counts[0] == 21 > counts[1] and counts[2] == 0
    assert [counts[1] + data["steps"][1]["unlisted"], data["steps"][2]["unlisted"]] == [22, 22]
    assert all(step["rows"] for step in data["steps"][:-1]), "all are drawn"


def test_as_many_mappings_as_a_process_may_have_are_a_picture(tmp_path: Path) -> None:
    maps = [Map(MANY + index * 2 * PAGE, 4, "rw-p", f"/{'long' * 60}", 4, 0, index + 1) for index in range(14_000)]
    data = address_space.data(run_of(Builder(tmp_path / "run").at("many", *maps)))
    assert data is not None and data["steps"][0]["unlisted"] > 0
    assert len(embed.data(data)) < page.PICTURES_BUDGET


@pytest.mark.parametrize(
    ("perms", "name", "inode", "kind"),
    [("rw-p", "[heap]", 0, "heap"), ("rw-p", "[stack]", 0, "stack"), ("r-xp", "[vdso]", 0, "kernel"),
     ("rw-p", "[heap]", 7, "data"), ("---p", "", 0, "guard"), ("rw-p", "", 0, "anon"),
     ("r-xp", "/a/libc.so.6", 7, "text"),
     ("r--p", "/a/libc.so.6", 7, "rodata"), ("rw-s", "/dev/zero (deleted)", 7, "file")],
)  # fmt: skip
def test_kinds(tmp_path: Path, perms: str, name: str, inode: int, kind: str) -> None:
    built = Builder(tmp_path / "run").at("start", Map(0x10000, 4, perms, name, 0, 0, inode))
    data = address_space.data(run_of(built))
    assert data is not None
    assert [entry[5] for entry in data["vmas"] if entry[0] == "0x10000"] == [kind]


def test_the_guard_gap_is_as_the_guest_booted_with_it(tmp_path: Path) -> None:
    built = brk(tmp_path / "run")
    built.directory.write("evidence/environment/cmdline", b"console=ttyS0 stack_guard_gap=16 quiet\n")
    data = stack_growth.data(run_of(built))
    assert data is not None and data["gap"] == 16 * PAGE


def test_an_excerpt_has_the_line_and_those_around_it(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    run.write("evidence/a", "\n".join(f"line {number}" for number in range(1, 101)).encode())
    found = Excerpts("c0", run, [Evidence("evidence/a", 50), Evidence("evidence/a", 53), Evidence("evidence/a", 400)])
    (excerpt,) = found.all
    assert excerpt.ranges() == [[48, 55]]
    assert [line.number for line in excerpt.lines if line.cited] == [50, 53]
    assert found.link(Evidence("evidence/a", 50)) == "#e-c0-0-50"
    assert found.link(Evidence("evidence/a", 400)) == found.link(Evidence("evidence/b", 1)) == ""


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "link", "evidence/program"])
def test_an_excerpt_shows_no_file_but_the_runs_own_text(tmp_path: Path, file: str) -> None:
    (tmp_path / "secret").write_text("secret")
    run = RunDirectory.create(tmp_path / "run")
    (run.path / "link").symlink_to(tmp_path / "secret")
    run.write("evidence/program", b"\x7fELF\x02secret")
    (excerpt,) = Excerpts("c0", run, [Evidence(file, 1)]).all
    assert excerpt.lines == () and excerpt.trouble


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("SYSCALL_DEFINE1(brk), mm/mmap.c", "https://elixir.bootlin.com/linux/v6.12/source/mm/mmap.c"),
        ("malloc/malloc.c (glibc)", "https://elixir.bootlin.com/glibc/glibc-2.41/source/malloc/malloc.c"),
        ("c1d171a00294", "https://git.kernel.org/torvalds/c/c1d171a00294"),
        ("bf1015fb2d7e (2.43)", "https://sourceware.org/git/?p=glibc.git;a=commit;h=bf1015fb2d7e"),
        ("d992895ba2b2 (2.6.14)", "https://git.kernel.org/torvalds/c/d992895ba2b2"),
        ("brk(2)", "https://man7.org/linux/man-pages/man2/brk.2.html"),
        ("see https://lwn.net/Articles/1/.", "https://lwn.net/Articles/1/"),
        ("javascript:alert(1)//", ""), ("../mm/x.c", ""),
    ],
)  # fmt: skip
def test_sources_are_linked(text: str, url: str) -> None:
    parts = linked(text, "6.12.107+deb13-cloud-amd64", "2.41")
    assert "".join(part.text for part in parts) == text
    assert [part.url for part in parts if part.url] == ([url] if url else [])


@pytest.mark.parametrize(
    ("text", "functions"),
    [
        ("mm/mmap.c, do_brk_flags(); brk(2)", ["linux/v6.12/A/ident/do_brk_flags"]),
        ("_int_free() / __libc_free(), malloc/malloc.c (glibc)",
         ["glibc/glibc-2.41/A/ident/_int_free", "glibc/glibc-2.41/A/ident/__libc_free"]),
        ("heap_trim(), malloc/arena.c; exit_mmap(), mm/mmap.c",
         ["glibc/glibc-2.41/A/ident/heap_trim", "linux/v6.12/A/ident/exit_mmap"]),
        ("fn() of no file; mm/mmap.c", []), ("fn(), mm/mmap.c and malloc/malloc.c", []),
    ],
)  # fmt: skip
def test_functions_are_linked_by_the_file_beside_them(text: str, functions: list[str]) -> None:
    parts = linked(text, "6.12.107+deb13-cloud-amd64", "2.41")
    assert "".join(part.text for part in parts) == text
    urls = [part.url.removeprefix("https://elixir.bootlin.com/") for part in parts]
    assert [url for url in urls if "/ident/" in url] == functions


def test_the_page_stays_below_its_budget_and_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        built = brk(tmp_path / "runs" / f"brk-{number}")
        built.record.findings = [FAILED if number == 5 else GREW]
        built.record.case |= {"kernel": f"6.{number}"}
        built.directory.save(built.record)
    budget = len(page.render(results.Results("", tmp_path, ()))) + 100_000
    monkeypatch.setattr(page, "BUDGET", budget)
    html = page.render(results.read([tmp_path / "runs"]))
    assert len(html) < budget + 5_000
    assert 0 < html.count('data-picture="address_space"') < 6
    assert f"lab report {tmp_path}/runs/brk-4 --html FILE" in html
    failed = html[html.index('id="c5"') :]
    assert 'data-picture="address_space"' in failed, "what failed is shown whole before what passed"


def test_many_findings_make_no_large_page(tmp_path: Path) -> None:
    """Those that failed have their values, the others are named or counted; all counts add up."""
    built = brk(tmp_path / "run")
    wide = "\u6f22" * 100  # three bytes each
    operands = (Operand(wide, wide, (Evidence("evidence/01-grown/proc/214/smaps", 41, wide),)),)
    passed = [replace(GREW, id=f"passed-{number}", because=wide, operands=operands) for number in range(4000)]
    built.record.findings = [*passed, *(replace(FAILED, id=f"failed-{number}") for number in range(3))]
    built.directory.save(built.record)
    html = page.render(of_run(built.record, built.directory.path))
    assert len(html.encode()) < page.BUDGET
    shown = re.findall(r'<span class="id">([\w-]+)</span>', html)
    assert shown[:3] == ["failed-0", "failed-1", "failed-2"] and 100 < len(shown) < 2000
    named = len(re.findall(r"<li><span class=\"badge is-pass\"[^\n]*</span> passed-\d+ ", html))
    more = re.search(r"(\d+) more findings are not even named here", html)
    assert more and len(shown) + named + int(more[1]) == 4003
    assert f"the values of {4003 - len(shown)} findings are left out" in html
    assert 'data-picture="address_space"' in html


def test_many_cases_make_no_large_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        built = brk(tmp_path / "runs" / f"brk-{number:02}")
        built.record.findings = [FAILED if number == 59 else replace(GREW, because="\u6f22" * 3000)]
        built.record.case |= {"scenario": f"brk-{number}"}
        built.directory.save(built.record)
    monkeypatch.setattr(page, "BUDGET", len(page.render(results.Results("", tmp_path, ())).encode()) + 150_000)
    html = page.render(results.read([tmp_path / "runs"]))
    assert len(html.encode()) < page.BUDGET
    assert html.count('<details class="case"') == 60
    assert html.count("the rest of this case is left out") > 0
    assert 'data-picture="address_space"' in html[html.index('id="c59"') :]


def test_a_damaged_record_is_rendered(tmp_path: Path) -> None:
    built = brk(tmp_path / "run")
    built.record.pieces = ["x", {"kind": "kernel", "version": 7, "packages": "none"}]  # type: ignore[list-item]
    built.record.environment, built.record.emulator = {"release": 7}, {"command": {"a": 1}}
    built.record.case, built.record.timings = {"settings": 3}, {"boot": "x"}  # type: ignore[dict-item]
    for checkpoint in built.record.checkpoints:
        built.directory.write(f"{checkpoint.directory}/notes", b"\xff\xfe=\n\n===\n")
        built.directory.write(f"{checkpoint.directory}/proc/214/limits", b"junk\n")
        built.directory.write(f"{checkpoint.directory}/proc/214/syscall", b"junk\n")
    assert "(not measured)" in page.render(of_run(built.record, built.directory.path))


def test_checkpoints_beyond_the_limit_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_STEPS", 4)
    monkeypatch.setattr(address_space, "MAX_STEPS", 4)
    built = brk(tmp_path / "run")
    html = page.render(of_run(built.record, built.directory.path))
    assert "3 later checkpoints are in the run directory only" in html
    assert html.count('"kind":"named"') == 4


def test_every_ending_is_told(tmp_path: Path) -> None:
    for ending in Ending:
        built = Builder(tmp_path / ending.value)
        if ending is not Ending.COMPLETED:
            built.end(ending, f"detail of {ending}", 4, "last words\n")
        html = page.render(of_run(built.record, built.directory.path))
        assert ("class=\"alarm\"" in html) == (ending is not Ending.COMPLETED)
        if ending is not Ending.COMPLETED:
            assert "last words" in html
            assert results.of_run(built.record, built.directory.path).cases[0].detail in html


def test_nothing_that_ran_is_no_success(tmp_path: Path) -> None:
    html = page.render(results.Results("nothing", tmp_path, ()))
    assert "nothing ran, which is no success" in html


def test_hostile_runs_make_no_element_and_no_attribute(tmp_path: Path) -> None:
    built = hostile(tmp_path / "run")
    html = page.render(of_run(built.record, built.directory.path))
    seen = Elements()
    seen.feed(html)
    assert not seen.tags & {"img", "iframe", "object", "embed", "form", "base", "link"}
    assert not [name for name in seen.attributes if name.startswith("on") or name in ("style", "src")]
    assert all(link.startswith(("#", "https://")) for link in seen.links)
    assert not set(html) & set("\u202e\u2066\x1b\x07\x00\u2028\u2029")
