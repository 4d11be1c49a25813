"""The digest of a run: SHA-256 of what it was evidence of, without what is of one run only. Pure functions of a run
directory, which two runs of one case have in common, on one host or on two.

``take`` makes it of parts, each with a digest of its own, so that one can tell where two differ; ``left_out`` is the
table of what is not in it, with the reasons; ``subject`` is a run as the others see it, ``names`` says an address or a
process so that a repeat says the same; ``case``, ``findings``, ``checked``, ``space``, ``objects``, ``heap`` and
``trace`` make the values; ``canonical`` is their one form as text.
"""
