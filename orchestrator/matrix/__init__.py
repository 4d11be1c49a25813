"""`lab matrix`: many cases, each with a run directory of its own, side by side in guests that they share.

``experiments`` is the door. ``selection`` says what is run, ``record`` keeps how far it came, ``schedule``
decides who runs what next (pure), ``pool`` has the worker processes, ``worker`` is what one of them does.
"""
