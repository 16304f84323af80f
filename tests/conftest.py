"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A test that is slow once on a busy machine has not failed; pytest-timeout bounds the whole.
settings.register_profile("sglctl", deadline=None)
settings.load_profile("sglctl")
