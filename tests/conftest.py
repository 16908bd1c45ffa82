"""How hard Hypothesis tries: HYPOTHESIS_PROFILE is dev, ci or deep."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No deadline: a property is about what is true, not about how busy the machine is.
settings.register_profile(
    "dev", deadline=None, max_examples=30, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
)
# The same examples on every run: what fails in CI fails at the desk, and never in somebody else's change.
settings.register_profile("ci", settings.get_profile("dev"), max_examples=60, derandomize=True, print_blob=True)
settings.register_profile(
    "deep", settings.get_profile("dev"), max_examples=2_000, stateful_step_count=60, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
