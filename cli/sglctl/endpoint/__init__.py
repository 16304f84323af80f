"""Endpoint tests: does an OpenAI-compatible URL do what its clients rely on?

report = run_suite(Target(url="http://127.0.0.1:8080", api_key=key))
"""

from __future__ import annotations

from sglctl.endpoint.report import CheckResult, Report, Reports
from sglctl.endpoint.suite import run_suite
from sglctl.endpoint.target import Target

__all__ = ["CheckResult", "Report", "Reports", "Target", "run_suite"]
