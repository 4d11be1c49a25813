"""`lab bisect`: between which two kernels, or userlands, an answer changes; and the exit codes of `lab run --bisect`.

`search` (what to try next, and what is known by then; pure), `question` (what is asked of a run, and how it answers;
pure), `candidates` (what there is between two ends, in order), `model` (what comes of it), `trials` (from end to end).
"""
