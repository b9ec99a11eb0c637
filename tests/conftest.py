"""Settings of all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A machine at work on other things is no defect of what is tested.
settings.register_profile("searching", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# What everybody runs before a change gives one answer for one code; the whole suite goes on searching.
settings.register_profile("repeatable", settings.get_profile("searching"), derandomize=True)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("searching" if config.getoption("markexpr") == "" else "repeatable")
