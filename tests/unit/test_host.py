"""Time limits follow the host's speed; what the user asks for is taken as it is."""

import pytest

from orchestrator import host


@pytest.fixture(params=[1.0, 4.0])
def factor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(host, "slowdown", lambda: request.param)
    return float(request.param)


def test_limits_are_scaled(factor: float) -> None:
    limits = host.limits(step=10)
    assert (limits.step, limits.boot, limits.total) == (10 * factor, 120 * factor, 600 * factor)


def test_the_users_limit_is_not(factor: float) -> None:
    assert host.limits(step=10, total=20) == host.Limits(boot=20, silence=20, step=20, total=20)
    assert host.limits(total=3600).step == 3600 and host.limits(total=3600).boot == 120 * factor


def test_slowdown_is_bounded() -> None:
    assert 1.0 <= host.slowdown() <= host.WORST


def test_the_record_names_no_machine() -> None:
    assert set(host.describe()) == {"machine", "kernel", "system", "cpus", "memory_mib", "slowdown", "python"}
