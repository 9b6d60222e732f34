"""Every command that starts nodes, or writes a file that does, refuses what needs `--trusted`."""

from __future__ import annotations

import sys

import pytest

from lab import cli
from lab.common.errors import UsageError
from lab.common.paths import ROOT
from lab.run import session
from lab.run.open_runtime import OPEN, open_runtime
from lab.scenario.resolve import load

TAGGED = """\
# Whose image?
name: tagged
servers: {mine: {image: "mine:latest"}}
swarm: {users: 2, workers: 1, load: {executor: constant-users, think-time: 1s}}
"""
OWN_USERS = """\
# Whose users?
name: own
servers: {poll: {model: poll}}
swarm: {users: 2, workers: 1, locustfile: mine.py}
"""


@pytest.fixture
def lab(monkeypatch, capsys):
    """Run the command in this process; return the exit code and what it printed on standard error."""
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capsys.readouterr().err

    return run


def written(folder, text):
    (folder / "mine.py").write_text("")
    path = folder / "one.yaml"
    path.write_text(text)
    return path


STARTS = [
    ("run", "--results", "{folder}/results"),
    ("up",),
    ("up", "--no-swarm", "--runtime", "local"),
    ("compose",),
    ("compose", "-o", "{folder}/out.yaml"),
    ("validate",),
]


@pytest.mark.parametrize("words", STARTS, ids=lambda words: " ".join(words[:3]))
def test_an_image_by_tag_is_refused(lab, tmp_path, words):
    path = written(tmp_path, TAGGED)
    verb, *flags = (word.format(folder=tmp_path) for word in words)
    code, says = lab(verb, path, *flags)
    assert code == 2
    assert "mine:latest is a tag" in says
    assert "--trusted" in says
    assert sorted(tmp_path.iterdir()) == sorted([path, tmp_path / "mine.py"]), "something was made"


def test_a_trusted_tag_is_composed(lab, tmp_path):
    code, _ = lab("compose", written(tmp_path, TAGGED), "-o", tmp_path / "out.yaml", "--trusted")
    assert code == 0
    assert "mine:latest" in (tmp_path / "out.yaml").read_text()


@pytest.mark.parametrize(
    "words", [("run", "--results", "{folder}/results"), ("up",)], ids=lambda words: words[0]
)
def test_a_locustfile_in_the_local_runtime_is_refused(lab, tmp_path, words):
    path = written(tmp_path, OWN_USERS)
    verb, *flags = (word.format(folder=tmp_path) for word in words)
    code, says = lab(verb, path, "--runtime", "local", *flags)
    assert code == 2
    assert "mine.py would run with your permissions" in says
    assert "one.yaml:4:" in says


@pytest.mark.parametrize("runtime", OPEN)
def test_no_runtime_opens_without_the_question(tmp_path, runtime):
    path = written(tmp_path, TAGGED)
    prepared = session.prepare(load(path, lab_yaml=tmp_path / "lab.yaml"))
    with pytest.raises(UsageError, match="--trusted"), open_runtime(runtime, prepared, print):
        pytest.fail("it was opened")
