"""What every test runs under: one profile of hypothesis, and another try for what a busy host disturbed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support import disturbed

pytest.register_assert_rewrite("testbed")

# How long an example takes depends on the host: no deadline, no check for slow data. The examples are the
# same in every run, so one that fails does so because of a change.
settings.register_profile(
    "lab", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lab")

DISTURBED = "disturbed"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Give an `alone` test another try where the host disturbed it (tests/support/disturbed.py)."""
    alone = pyfuncitem.get_closest_marker("alone")
    if alone is not None and not alone.kwargs.get("once"):
        properties = pyfuncitem.user_properties
        pyfuncitem.obj = disturbed.tried_again(
            pyfuncitem.obj, lambda line: properties.append((DISTURBED, line))
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were disturbed, and by how much, whether they passed in the end or not."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    for report in reports:
        for name, line in report.user_properties:
            if name == DISTURBED and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid}: {line}")
