"""Wholes: an address space, a heap, the threads of a process; and what a run has to inspect."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping

from orchestrator.collect.objects import COUNTED, PAGE
from orchestrator.errors import UsageError
from orchestrator.inspection import crosscheck, vmas
from orchestrator.inspection.facts import Check, Fact, Section, Verdict, View
from orchestrator.inspection.heap_view import heap_sections
from orchestrator.inspection.moment import MM_ADDRESSES, Moment, Run, all_notes
from orchestrator.inspection.names import glibc_places, number
from orchestrator.inspection.program import Program
from orchestrator.model import Evidence

SHARED = ("mm", "files", "fs", "signal", "sighand")
SHOWN_NAMES = 60
SHOWN_AREAS = 200
DIFFERING = 40  # VMAs that are not as smaps shows them


def mm(moment: Moment, every: bool) -> View:
    """The mm_struct, its VMAs, how many pages of each kind the tables map, the tables themselves."""
    found = moment.kernel.mm
    sections = []
    if found is not None:
        values = {name: value for name, value in found.fields.items() if name != "is"}
        sections.append(Section("mm_struct", (Fact("mm", values, (moment.line(found),)),)))
    counts = dict(moment.kernel.counts())
    whole = (moment.document.at(0),)
    pages = Fact("pages", {**counts, "total": sum(counts.values())}, whole)
    levels = {level: sum(one == level for one, _ in moment.kernel.tables) for level in moment.kernel.levels}
    sections.append(Section("page tables", (pages, Fact("tables", dict(levels), whole))))
    total = len(moment.kernel.vmas)
    areas = tuple(_area(moment, place) for place in range(total if every else min(total, SHOWN_AREAS)))
    sections.append(Section("vm_area_structs", areas, total - len(areas)))
    return View("mm", moment.where, tuple(sections), tuple(_mm_checks(moment)), tuple(dict.fromkeys(moment.troubles)))


def _area(moment: Moment, place: int) -> Fact:
    item = moment.kernel.vmas[place]
    fact = vmas.fact(moment, item)
    counts = crosscheck.pages(moment, item.fields["start"], item.fields["end"])
    return Fact("vma", {**fact.values, "pages": counts}, fact.evidence)


def _mm_checks(moment: Moment) -> Iterator[Check]:
    found, kernel = moment.kernel.mm, moment.kernel
    if found is not None:
        counts, line = kernel.counts(), (moment.line(found),)
        tables = (sum(level in COUNTED for level, _ in kernel.tables) + _deposited(moment)) * PAGE
        sizes = sum(item.fields["end"] - item.fields["start"] for item in kernel.vmas) // PAGE
        files = counts.get("file", 0) + _special(moment)
        for what, mine, other, source in (
            ("map_count", found.fields["map_count"], len(kernel.vmas), "VMAs that were walked"),
            ("total_vm", found.fields["total_vm"], sizes, "pages in those VMAs"),
            ("rss_anon", found.fields["rss_anon"], counts.get("anon", 0) + counts.get("ksm", 0), "anonymous pages"),
            ("rss_file", found.fields["rss_file"], files, "pages of files, with the vDSO's"),
            ("rss_shmem", found.fields["rss_shmem"], counts.get("shmem", 0), "pages of shared memory"),
            ("pgtables_bytes", found.fields["pgtables_bytes"], tables,
             "bytes in tables below the pgd and the p4d, and kept for huge pages"),
        ):
            yield Check(what, Verdict.AGREE if mine == other else Verdict.DIFFER,
                        f"mm_struct says {mine}, and there are {other} {source}", line)
    differing = [check for item in kernel.vmas for check in crosscheck.of_vma(moment, item)
                 if check.verdict is not Verdict.AGREE]  # fmt: skip
    yield from differing[:DIFFERING]
    if len(differing) > DIFFERING:
        yield Check("vmas and smaps", Verdict.DIFFER, f"and {len(differing) - DIFFERING} differences more",
                    (moment.document.at(0),))
    if not differing and moment.mappings:
        yield Check("vmas and smaps", Verdict.AGREE, f"all {len(kernel.vmas)} VMAs are as smaps shows them",
                    (moment.document.at(0), moment.mappings[0].at(0)))


def _deposited(moment: Moment) -> int:
    """Tables that are kept for the day on which a huge page is split (pgtable_trans_huge_deposit())."""
    return sum(kind in "AZ" for table in moment.kernel.tables.values() if table.level == "pmd"
               for kind in table.kinds.values())  # fmt: skip


def _special(moment: Moment) -> int:
    """Pages of the vDSO, which count as a file's; those of VM_PFNMAP mappings (vvar) are no pages at all."""
    return sum(crosscheck.pages(moment, item.fields["start"], item.fields["end"]).get("other", 0)
               for item in moment.kernel.vmas if not item.fields["flags"] >> 10 & 1)  # fmt: skip


def threads(moment: Moment, every: bool) -> View:
    """Each thread as the kernel has it, and as glibc has it."""
    facts = tuple(_thread(moment, place) for place in range(len(moment.kernel.tasks)))
    return View("threads", moment.where, (Section("threads", facts),), tuple(_thread_checks(moment)),
                tuple(dict.fromkeys(moment.troubles)))  # fmt: skip


def _thread(moment: Moment, place: int) -> Fact:
    item = moment.kernel.tasks[place]
    values = {name: value for name, value in item.fields.items() if name != "is"}
    evidence = [moment.line(item)]
    found = moment.heap[1].thread(item.fields["tid"]) if moment.heap else None
    if moment.heap and found is not None:
        evidence.append(moment.heap[0].at(found.line))
        values |= {
            "pthread": found.pthread, "arena": found.arena, "tcache": found.tcache, "tcache_state": found.tcache_state,
            **{name: found.numbers[name] for name in ("stackblock", "stackblock_size", "guardsize", "pthread_tid")
               if name in found.numbers},
        }  # fmt: skip
    return Fact("thread", values, tuple(evidence))


def _thread_checks(moment: Moment) -> Iterator[Check]:
    tasks = moment.kernel.tasks
    lines = tuple(moment.line(task) for task in tasks[:12])
    if len(tasks) > 1:
        split = [name for name in SHARED if len({task.fields[name] for task in tasks}) > 1]
        yield Check("shared objects", Verdict.DIFFER if split else Verdict.AGREE, f"{', '.join(split)} differ" if split
                    else f"all {len(tasks)} threads have the same {', '.join(SHARED)}", lines)  # fmt: skip
    if moment.heap is None:
        return
    document, found = moment.heap
    for task in tasks:
        thread = found.thread(task.fields["tid"])
        if thread is None:
            continue
        wrong = [f"{name} {mine:#x}, not {other:#x}" for name, mine, other in (
            ("struct pthread at", thread.pthread, task.fields["fsbase"]),
            ("its tid", thread.numbers.get("pthread_tid", task.fields["tid"]), task.fields["tid"]),
        ) if mine != other]  # fmt: skip
        yield Check(f"thread {task.fields['tid']}", Verdict.DIFFER if wrong else Verdict.AGREE, "; ".join(wrong) or
                    "its struct pthread lies at the kernel's fsbase, and has the kernel's id",
                    (moment.line(task), document.at(thread.line)))  # fmt: skip


def heap(moment: Moment, every: bool) -> View:
    """Arenas, heaps, lists, caches. Raises UsageError where the lab did not look at it."""
    if moment.heap is None:
        why = "; ".join(moment.troubles) or moment.run.record.left_out.get("heap", "")
        raise UsageError(f"the lab did not look at the heap at {moment.at!r}{f': {why}' if why else ''}",
                         "`lab run … --inspect` does at every checkpoint")
    document, found = moment.heap
    checks = [check for arena in found.arenas for one in arena.heaps
              for check in crosscheck.of_heap(moment, one.first)]  # fmt: skip
    failed = found.failed()
    checks += [Check(check.what, Verdict.DIFFER, check.detail, (document.at(check.line),)) for check in failed[:40]]
    held = len(found.checks) - len(failed)
    if held:
        checks.append(Check("invariants", Verdict.AGREE, f"of {len(found.checks)} invariants of the heap "
                            f"{held} hold{f', {len(failed)} do not' if failed else ''}", (document.at(0),)))
    return View("heap", moment.where, heap_sections(document, found, every), tuple(checks),
                tuple(dict.fromkeys(moment.troubles)))  # fmt: skip


VIEWS: Mapping[str, Callable[[Moment, bool], View]] = {"heap": heap, "mm": mm, "threads": threads}


# -- what there is ---------------------------------------------------------------------------------


def contents(run: Run, moment: Moment, every: bool) -> View:
    """What a run has to inspect: its checkpoints, and what may be asked for by name at this one."""
    checkpoints = tuple(
        Fact("checkpoint", {"at": run.label(c), "kind": c.kind, "seconds": c.seconds, "pid": c.pid,
                            "kernel": run.pids(c, "kernel"), "heap": run.pids(c, "heap")}, (Evidence("run.json"),))
        for c in run.record.checkpoints
    )  # fmt: skip
    glibc = [Fact("named", {"name": f.fact.values["name"], "address": f.address}, f.fact.evidence)
             for f in glibc_places(moment)]  # fmt: skip
    sections = (Section("checkpoints", checkpoints), _notes(moment, every), _some("glibc", glibc, every),
                _some("mm_struct", list(_mm_names(moment)), every), _some("mappings", list(_areas(moment)), every),
                _some("variables of the program", list(_variables(moment)), every))  # fmt: skip
    return View("contents", moment.where, tuple(section for section in sections if section.facts), (),
                tuple(dict.fromkeys(moment.troubles)))  # fmt: skip


def _notes(moment: Moment, every: bool) -> Section:
    """Notes that are an address here: in a mapping, or just behind one, as the program break is. Of a name that was
    noted several times the first one counts; those beyond what is shown are only counted."""
    areas = sorted((item.fields["start"], item.fields["end"]) for item in moment.kernel.vmas)
    starts = [start for start, _ in areas]
    seen: set[str] = set()
    facts: list[Fact] = []
    for note, line in all_notes(moment):
        value = None if note.key in seen else number(note.value)
        place = -1 if value is None else bisect_right(starts, value) - 1
        if place < 0 or value is None or value > areas[place][1]:
            continue
        seen.add(note.key)
        if every or len(facts) < SHOWN_NAMES:
            facts.append(Fact("named", {"name": note.key, "address": value, "at": note.checkpoint}, (line,)))
    return Section("notes", tuple(facts), len(seen) - len(facts))


def _some(title: str, facts: list[Fact], every: bool) -> Section:
    shown = facts if every else facts[:SHOWN_NAMES]
    return Section(title, tuple(shown), len(facts) - len(shown))


def _mm_names(moment: Moment) -> Iterator[Fact]:
    found = moment.kernel.mm
    for name in MM_ADDRESSES if found else ():
        if found and found.fields[name]:
            yield Fact("named", {"name": name, "address": found.fields[name]}, (moment.line(found),))


def _areas(moment: Moment) -> Iterator[Fact]:
    seen = set()
    for item in moment.kernel.vmas:
        name = item.fields["name"].rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            yield Fact("named", {"name": name, "address": item.fields["start"]}, (moment.line(item),))


def _variables(moment: Moment) -> Iterator[Fact]:
    program, bias = moment.run.program, moment.bias
    if isinstance(program, Program) and bias is not None:
        for symbol in program.symbols:
            if not (symbol.is_code or symbol.tls or symbol.name.startswith("_")) and symbol.size:
                yield Fact("named", {"name": symbol.name, "address": symbol.value + bias})
