"""glibc's malloc and threads in a stopped process: level H of the evidence (heap/PID.jsonl).

    layout = derive(program, symbol, "2.36", build_id)        # once for each libc, from its debug files
    for line in collect(Process(pid, mappings, threads), layout, reader):
        ...

| module | what |
|---|---|
| `layout` | structures and symbols as the debug files have them, as plain numbers |
| `memory` | the process's memory in blocks of 64-bit words, within bounds |
| `process` | where libc is, its TLS module, a thread's TLS block |
| `spans` | stretches of memory that have been seen to |
| `rules` | bin indexes and constants that no debug file has |
| `arenas`, `walk`, `lists`, `mapped`, `threads` | what is found, each followed as far as it goes |
| `states`, `checks`, `process_checks` | lists against walks; the invariants |
| `model`, `snapshot`, `records` | what was found; as JSON lines |
| `collector` | all of it |
"""

from orchestrator.collect.ptmalloc.collector import collect
from orchestrator.collect.ptmalloc.layout import Layout, derive
from orchestrator.collect.ptmalloc.memory import Mapping, Reader
from orchestrator.collect.ptmalloc.process import Process, Thread

__all__ = ["Layout", "Mapping", "Process", "Reader", "Thread", "collect", "derive"]
