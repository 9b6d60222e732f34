"""Compose files: fresh for every scenario, valid by the specification, as locked down as a run's nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from lab.common.paths import ROOT
from lab.export import compose
from lab.plan import plan, render
from lab.plan.node_settings import ServerSettings
from lab.scenario.resolve import load
from lab.verbs import shared
from lab.verbs.completion import scenario_names
from tests.support.scenarios import TEXT, resolved

FOLDER = ROOT / "compose"
FILES = compose.file_names(scenario_names())


def made(tmp_path, text=TEXT):
    return yaml.safe_load(compose.compose(resolved(tmp_path, text), "small.yaml"))


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch):
    for name in [name for name in os.environ if name.startswith("LAB_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", FILES)
def test_the_file_in_compose_is_what_its_scenario_gives(name):
    path = FOLDER / FILES[name]
    assert path.exists(), "make it with: make generated"
    _, scenario = shared.load(name)
    assert path.read_text() == compose.compose(scenario, path.name), "make it anew: make generated"
    for profile, text in compose.profile_files(scenario).items():
        assert (FOLDER / profile).read_text() == text, "make it anew: make generated"


def test_compose_holds_nothing_else():
    left = {path.name for path in FOLDER.iterdir()} - set(FILES.values())
    assert left <= {compose.SECCOMP, compose.SECCOMP_IO_URING, ".env"}


def test_every_file_is_valid_by_the_compose_specification():
    files = [str(path) for path in sorted(FOLDER.glob("*.yaml"))]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_line_says_that_links_are_absent(tmp_path):
    text = TEXT + "links:\n  - {endpoints: [swarm, servers], delay: 20ms, loss: 1%}\n"
    first = compose.compose(resolved(tmp_path, text), "small.yaml").splitlines()[0]
    assert "without links" in first
    assert "swarm - servers: delay 20ms, loss 1%" in first


def test_one_server_by_default_and_the_others_by_profile(tmp_path):
    scenario = resolved(tmp_path)
    first = plan.expand(scenario).trials[0].server
    services = made(tmp_path)["services"]
    servers = {name: service for name, service in services.items() if name.startswith("server-")}
    assert set(servers) == {"server-thread", "server-epoll_lt"}
    assert "profiles" not in servers[f"server-{first}"]
    assert [s["profiles"] for n, s in servers.items() if n != f"server-{first}"] == [
        [n] for n in servers if n != f"server-{first}"
    ]
    assert {n for n in services if not n.startswith("server-")} == {"master", "worker-0", "worker-1"}


def test_every_service_is_locked_down(tmp_path):
    document = made(tmp_path)
    assert all(network["internal"] for network in document["networks"].values())
    for service in document["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert service["read_only"] is True
        assert service["user"] == "10001:10001"
        assert service["security_opt"] == ["no-new-privileges:true", "seccomp:seccomp.json"]
        assert not {"ports", "volumes", "privileged", "network_mode"} & set(service)


def test_a_dollar_sign_is_kept_from_interpolation(tmp_path):
    node = render.render("r", *_trial(tmp_path)).node("server")
    assert isinstance(node.settings, ServerSettings)
    node = replace(node, settings=replace(node.settings, handler="a$b"))
    service = compose._service(node, render.render("r", *_trial(tmp_path)))
    assert service["environment"]["LAB_HANDLER"] == "a$$b"


def _trial(tmp_path):
    expanded = plan.expand(resolved(tmp_path))
    trial = expanded.trials[0]
    capacity = compose.plan_capacity(expanded, compose.REFERENCE)
    return expanded, trial, capacity, compose.place(compose.REFERENCE, trial.scenario), render.Addressing()


def test_an_image_of_your_own_stands_as_it_is(tmp_path):
    text = TEXT.replace("thread: {model: thread}", "mine: {image: 'mine@sha256:aa', port: 8080}")
    assert made(tmp_path, text)["services"]["server-mine"]["image"] == "mine@sha256:aa"


def test_io_uring_gets_the_profile_that_lets_it_through(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "needs_io_uring", lambda scenario: True)
    scenario = resolved(tmp_path)
    profile = json.loads(compose.profile_files(scenario)[compose.SECCOMP_IO_URING])
    allowed = {name for rule in profile["syscalls"] for name in rule["names"]}
    assert "io_uring_setup" in allowed
    service = yaml.safe_load(compose.compose(scenario, "small.yaml"))["services"]["master"]
    assert f"seccomp:{compose.SECCOMP_IO_URING}" in service["security_opt"]


def test_a_sweep_gives_one_file_with_every_server_at_its_first_point(tmp_path):
    services = made(tmp_path, TEXT + "sweep: {swarm.users: [2, 4, 8]}\nseed: 3\n")["services"]
    first = plan.expand(load(tmp_path / "scenario.yaml", lab_yaml=tmp_path / "none")).trials[0]
    assert len([name for name in services if name.startswith("server-")]) == 2
    swarm = json.loads(services["master"]["environment"]["LAB_SWARM"])
    assert swarm["users"] == first.point["swarm.users"]
