"""What the guest says of its kernel: build-id and the place of its description of itself."""

from __future__ import annotations

import pytest

from orchestrator.collect import environment
from orchestrator.collect.lines import Document, EvidenceError


def document(*lines: str) -> Document:
    return Document("evidence/environment/x", lines)


def test_build_id() -> None:
    assert environment.parse_build_id(document("e1b6c81f7afcf08c49c197583920e5307d281cdf")) == (
        "e1b6c81f7afcf08c49c197583920e5307d281cdf")  # fmt: skip
    assert environment.parse_build_id(document()) == environment.parse_build_id(document("")) == ""


@pytest.mark.parametrize("text", ["e1b", "E1B6", "xx", "e1 b6", "ab" * 65])
def test_what_is_no_build_id(text: str) -> None:
    with pytest.raises(EvidenceError, match="a build-id"):
        environment.parse_build_id(document(text))


def test_vmcoreinfo_is_hexadecimal() -> None:
    assert environment.parse_vmcoreinfo(document("0x000000002d394000 1024")) == (0x2D394000, 0x1024)


@pytest.mark.parametrize("text", ["", "0x1000", "0x1000 -1", "0x" + "1" * 17 + " 1024", "4096 1024 1"])
def test_what_is_no_place_of_vmcoreinfo(text: str) -> None:
    with pytest.raises(EvidenceError, match="vmcoreinfo"):
        environment.parse_vmcoreinfo(document(text))
