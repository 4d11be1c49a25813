"""The page of results: one self-contained HTML file, without network or server. ``page.render`` is its door.

``shell`` is the frame of any page of the lab (title, navigation, assets); ``embed`` writes data and assets into it;
``excerpts`` are the lines of evidence that the page keeps; ``case`` is what its templates say of one case. A picture
is a module ``NAME`` with ``data(run)``, and ``assets/NAME.js`` and ``NAME.css``, which draw what it gives;
``pictures`` lists them.
"""
