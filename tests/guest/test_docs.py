"""Every example of the documents that a reader can type: it ends as is shown, and prints what is shown.

What is not run stands with its reason in tests/unit/docs_examples.py; what needs no guest is run by
tests/unit/test_docs_examples.py as well.
"""

from __future__ import annotations

import pytest
from conftest import Lab
from docs_examples import DOCUMENTS, examples
from test_docs_examples import playground, run


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_of(document: str, lab: Lab) -> None:
    folder = playground(lab.folder)
    wrong = [run(example, folder, lab.environment()) for example in examples(document) if not example.left_out]
    assert "\n".join(filter(None, wrong)) == ""
