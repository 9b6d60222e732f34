"""`lab run --ui`: Locust's page on the loopback while the run lasts, behind a password that no file holds."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.lab_command import MEASURED, SMALL, environment, read_until, start

TOLD = re.compile(r"Locust's web UI: (http://127\.0\.0\.1:\d+/) user (\S+) password (\S+)")


def page(url: str, user: str, password: str) -> str:
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {word}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_the_page_wants_its_password_and_ends_with_the_run(tmp_path: Path) -> None:
    env = environment(**SMALL | {"LAB_SET_SWARM__PHASES__MEASURE": "2s"})
    command = ["run", "smoke", "--server", "thread", "--ui", "--results", tmp_path]
    with start(*command, env=env) as process:
        told = TOLD.search(read_until(process, "Locust's web UI"))
        assert told
        url, user, password = told.groups()
        assert "Locust" in page(url, user, password)
        for wrong in ("", "guess"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                page(url, user, wrong)
            assert refused.value.code == 401
            refused.value.close()
        process.communicate(timeout=60)
    assert process.returncode in MEASURED
    with pytest.raises(urllib.error.URLError, match="refused"):
        page(url, user, password)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if password.encode() in path.read_bytes()] == []
    assert "--ui" in json.loads((tmp_path / "latest/manifest.json").read_text())["argv"]
