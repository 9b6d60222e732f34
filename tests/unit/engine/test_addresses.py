"""Which engine is asked: the one that is named, and no other in its place."""

from __future__ import annotations

import json

import pytest
from docker.context import ContextAPI

from lab.common.errors import HostCannot
from lab.engine import connect


@pytest.fixture
def docker_home(tmp_path, monkeypatch):
    """An empty configuration of Docker's client; no variable names an engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    ContextAPI.create_context("other", host=f"unix://{tmp_path}/other.sock")
    return tmp_path


def test_without_a_name_the_usual_places_are_tried(docker_home):
    found = list(connect._addresses())
    assert "unix:///var/run/docker.sock" in "".join(found)
    assert not [address for address in found if "other.sock" in address]


def test_docker_host_is_the_only_one(docker_home, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    assert list(connect._addresses()) == ["unix:///elsewhere.sock"]


@pytest.mark.parametrize("by", ["variable", "configuration"])
def test_a_named_context_that_does_not_answer_is_an_error_that_names_it(docker_home, monkeypatch, by):
    if by == "variable":
        monkeypatch.setenv("DOCKER_CONTEXT", "other")
    else:
        (docker_home / "config.json").write_text(json.dumps({"currentContext": "other"}))
    addresses = connect._addresses()
    assert next(addresses) == f"unix://{docker_home}/other.sock"
    with pytest.raises(
        HostCannot, match=r"no Docker engine answers at unix://.*other.sock \(Docker context other\)"
    ):
        next(addresses)
    with pytest.raises(HostCannot, match="Docker context other"):
        connect.connect()


def test_an_unknown_context_is_an_error_that_names_it(docker_home, monkeypatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "absent")
    with pytest.raises(HostCannot, match="there is no Docker context 'absent'"):
        connect.connect()


def test_the_default_context_can_be_named(docker_home, monkeypatch):
    (docker_home / "config.json").write_text(json.dumps({"currentContext": "other"}))
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert not [address for address in connect._addresses() if "other.sock" in address]
