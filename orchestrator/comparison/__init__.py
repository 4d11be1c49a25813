"""`lab compare`: what differs between sets of runs, and why as far as it is known. Pure functions of run directories.

``sides`` finds runs and says which belong together, ``seen`` and ``inside`` make a run comparable, ``places`` makes its
addresses so, ``reasons`` finds the claims and mechanisms that speak of an observation, ``differ`` compares; ``missing``
is which runs a comparison lacks. What comes of it is in ``model``.
"""
