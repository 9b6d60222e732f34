"""The contract of impairments (tests/contract/test_impair.py) with real netem, in user-mode Linux."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.support import uml_boot as boot

ROOT = Path(__file__).parents[2]
DEADLINE_S = 170.0  # 50 s on a quiet machine


@pytest.mark.uml
@pytest.mark.alone
@pytest.mark.timeout(DEADLINE_S + 20)
def test_netem_keeps_the_contract(tmp_path: Path) -> None:
    if reason := boot.why_not():
        pytest.skip(reason)
    pytest_argv = [
        sys.executable,
        *["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "-k", "netem", "--durations=8"],
    ]
    report = ["--junitxml=/mnt/report.xml", "--basetemp=/run/pytest", "tests/contract/test_impair.py"]
    ended = boot.run([*pytest_argv, *report], tmp_path / "uml", ROOT, DEADLINE_S)
    assert ended.code == 0, f"{ended.output[-6000:]}\n{ended.console[-2000:]}"
    suite = ElementTree.parse(tmp_path / "uml" / "report.xml").getroot().find("testsuite")
    assert suite is not None
    assert int(suite.attrib["tests"]) >= 20
    assert suite.attrib["skipped"] == "0"
