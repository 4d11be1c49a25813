"""`lab inspect`: what the evidence of one run says of one address, or of a whole process, at one checkpoint. Pure.

    run = Run.open(path)
    story = story_of(run, run.moment("touched", None), "page")

| module | what |
|---|---|
| `facts` | the answer as data: facts, cross-checks, the checkpoints before and after |
| `moment` | a run, and one process at one of its checkpoints, with the evidence of it |
| `names` | from a name to an address, and from an address to its names |
| `program` | the program's own symbols, and where it was loaded |
| `bits` | flags of VMAs, page-table entries, page faults |
| `vmas`, `walks`, `heaps`, `fills` | the facts: mapping, page tables and frame, chunk, traced fault |
| `crosscheck` | where two sources speak of the same |
| `story`, `views` | all of it, for an address; for an mm, a heap, the threads, a run |
"""

from orchestrator.inspection.moment import Run
from orchestrator.inspection.story import story_of
from orchestrator.inspection.views import VIEWS, contents

__all__ = ["VIEWS", "Run", "contents", "story_of"]
