"""What `lab up` prints of its nodes' events."""

from __future__ import annotations

import pytest

from lab.verbs.up import _print_event
from tests.support.records import progress


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"event": "log", "level": "info", "says": "hello"}, "master: hello"),
        ({"event": "phase", "phase": "measure", "starts_mono_ms": 5.0}, "master: measure"),
        ({"event": "worker_lost", "worker_index": 1, "says": "worker 1 is gone"}, "master: worker 1 is gone"),
        (
            progress(response_p99_ms=None).model_dump(),
            "master: 1000 connected, 2000.0 requests/s, p99 n/a, 0 failed",
        ),
        ({"event": "phase", "phase": "of the moon"}, 'master: {"event": "phase", "phase": "of the moon"}'),
        ({"event": "stats", "mono_ms": 1.0}, ""),
    ],
)
def test_phases_progress_and_messages_are_printed_and_statistics_are_not(
    event: dict[str, object], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _print_event("master", event)
    assert capsys.readouterr().err.strip() == says
