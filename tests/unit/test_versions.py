"""Versions compare by their numbers, whatever a distribution hangs on to them."""

import pytest

from orchestrator.versions import Version, series


def test_numbers_not_letters() -> None:
    assert Version("6.1") < Version("6.12") < Version("7.0")
    assert Version("6.1.0-50-cloud-amd64") == "6.1" and Version("7.3.4+deb13") >= "7.3"
    assert Version("2.36") < "2.41" and not Version("2.36") < "2.31"


@pytest.mark.parametrize("text", ["", "6.x", "v6.1", "6.1 ", "6..1", "-6.1"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError):
        Version(text)


def test_series() -> None:
    assert series("6.1.0-50-cloud-amd64") == "6.1" and series("odd") == "odd"
