"""A scenario from `lab new`, as a newcomer uses it: it lints, passes, fails under its control, is in the ledger."""

from __future__ import annotations

import json

import pytest
from conftest import NEWEST, OLDEST, Lab


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_a_new_scenario_works(lab: Lab, kernel: str, userland: str) -> None:
    guest = ("-q", "-k", kernel, "-u", userland)
    assert lab("new", "mine").returncode == 0
    linted = lab("lint", "./mine")
    assert linted.returncode == 0 and "0 errors, 0 warnings; compiled against glibc" in linted.stdout, linted.stdout
    passed = lab("run", "./mine", *guest, "-o", "all/passed")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    failed = lab("run", "./mine", *guest, "-D", "MUTATE_NO_TOUCH", "-o", "all/failed")
    assert failed.returncode == 1 and "FAIL  touch (mine.touch)" in failed.stdout, failed.stdout + failed.stderr

    ledger = lab("claims", "all", "-c", "mine.touch", "--json", "-")
    (claim,) = json.loads(ledger.stdout)["claims"]
    assert (claim["verdict"], claim["reached"]) == ("confirmed", ["P"])
    assert list(claim["cells"]) == [kernel], "the run with a mutation does not count"
    shown = lab("claims", "all", "-c", "mine.touch")
    assert "-> all/passed: touch" in shown.stdout and "all/failed: not the scenario's own settings" in shown.stdout
