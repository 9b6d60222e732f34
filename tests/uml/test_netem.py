"""The contract of impairments (tests/contract/test_impair.py) with real netem, in user-mode Linux."""

from __future__ import annotations

import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lab.common.paths import ROOT
from testbed import uml as boot
from tests.support import disturbed

DEADLINE_S = 170.0  # 50 s on a quiet host


@pytest.mark.uml
@pytest.mark.alone
@pytest.mark.timeout(disturbed.TRIES * (DEADLINE_S + 20))
def test_netem_keeps_the_contract(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))  # a new one for each try
    if reason := boot.why_not():
        pytest.skip(reason)
    pytest_argv = [
        sys.executable,
        *["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "-k", "netem", "--durations=8"],
    ]
    report = ["--junitxml=/mnt/report.xml", "--basetemp=/run/pytest", "tests/contract/test_impair.py"]
    ended = boot.run([*pytest_argv, *report], folder, ROOT, DEADLINE_S)
    assert ended.code == 0, f"{ended.output[-6000:]}\n{ended.console[-2000:]}"
    suite = ElementTree.parse(folder / "report.xml").getroot().find("testsuite")
    assert suite is not None
    assert int(suite.attrib["tests"]) >= 20
    assert suite.attrib["skipped"] == "0"
