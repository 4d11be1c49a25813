"""Kernel objects of a stopped process, read with drgn: task, mm, VMAs, page tables, frames.

Each module reads one subject and gives records (plain dictionaries, integers as they are in memory); ``snapshot``
puts them into the evidence file ``kernel/PID.jsonl``. Guest memory is hostile: every walk is bounded, and what can't
be followed becomes a record that says so.
"""

from orchestrator.collect.kernel.program import Memory, attach
from orchestrator.collect.kernel.snapshot import Budget, changing, lines, processes

__all__ = ["Budget", "Memory", "attach", "changing", "lines", "processes"]
