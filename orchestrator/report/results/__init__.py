"""Results: what the renderers of whole results take (``model``), and how directories become that (``reading``)."""

from orchestrator.report.results.model import CaseResult, Results, Verdict, of_run, unique
from orchestrator.report.results.reading import read, settings_words

__all__ = ["CaseResult", "Results", "Verdict", "of_run", "read", "settings_words", "unique"]
