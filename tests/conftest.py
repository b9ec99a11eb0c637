"""Settings of all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine at work on other things is no defect of what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
