"""What a server reads: the manifest, settings, handlers and units."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest
from iomodels import app, handlers, manifest, settings, units
from iomodels.session import SendFile
from swarm.answers import expected_answer
from wire import datagram

from lab.common.errors import LabError
from lab.common.paths import ROOT
from lab.scenario import catalog, handler
from lab.scenario.handler import HANDLERS
from lab.verbs import completion

MODELS = manifest.load()


def resolve(*line: str) -> settings.Settings:
    return settings.resolve(settings.parser().parse_args(line), MODELS)


def test_each_model_is_one_file_and_one_entry() -> None:
    files = {path.stem for path in (ROOT / "images/server/iomodels/models").glob("*.py")} - {"__init__"}
    assert files == set(MODELS)
    for name in MODELS:
        assert callable(import_module(f"iomodels.models.{name}").serve)


def test_each_entry_is_complete() -> None:
    families = {"blocking", "non-blocking", "multiplexing", "signal-driven", "asynchronous"}
    for name, entry in manifest.entries().items():
        assert entry["family"] in families, name
        assert isinstance(entry["memory_bytes_per_connection"], int), name
        assert isinstance(entry["needs"]["descriptors_per_connection"], int), name
        assert entry["syscalls"]["must"], name
        assert not set(entry["syscalls"]["must"]) & set(entry["syscalls"]["never"]), name
        assert all(page.endswith(")") for page in entry["man"]), name


ENTRY = 'summary = "s"\nfamily = "blocking"\nshape = "iterative"\ntransports = ["tcp"]\nworkers = true\n'
BAD_MANIFESTS = {
    "x = ": (r"manifest\.toml: Invalid value \(at", r"manifest\.toml: Invalid value \(at"),
    "models = 1": ("models: 1; a table is needed", "models: Input should be a valid dictionary"),
    "models.a = 1": (r"models\.a: 1; a table", r"models\.a: Input should be a valid dictionary"),
    f"[models.a]\n{ENTRY}".replace("family", "families"): (
        r"models\.a\.family: missing; a string",
        r"models\.a\.family: Field required",
    ),
    f"[models.a]\n{ENTRY}".replace("true", '"yes please"'): (
        r"models\.a\.workers: 'yes please'; a boolean",
        r"models\.a\.workers: Input should be a valid boolean",
    ),
}


@pytest.mark.parametrize("text", BAD_MANIFESTS)
def test_a_bad_manifest_is_one_error_that_names_the_file_and_the_key(text: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(text)
    of_the_server, of_the_lab = BAD_MANIFESTS[text]
    with pytest.raises(manifest.ManifestError, match=of_the_server):
        manifest.load(path)
    with pytest.raises(LabError, match=of_the_lab) as caught:
        catalog.read(path)
    assert str(caught.value).startswith("manifest.toml: ")
    assert "\n" not in str(caught.value)


def test_a_manifest_that_cannot_be_read_is_one_error_too(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    with pytest.raises(manifest.ManifestError, match=r"^manifest\.toml: .*No such file"):
        manifest.load(path)
    with pytest.raises(LabError, match=r"^manifest\.toml: .*No such file"):
        catalog.read(path)
    path.write_bytes(b"\xff")
    with pytest.raises(manifest.ManifestError, match=r"^manifest\.toml: .*decode"):
        manifest.load(path)
    with pytest.raises(LabError, match=r"^manifest\.toml: .*decode"):
        catalog.read(path)


def test_an_unknown_key_of_a_model_is_an_error_in_the_lab(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(f"[models.a]\n{ENTRY}limit.max_open = 5\n")
    with pytest.raises(LabError, match=r"manifest\.toml: models\.a\.limit: Extra inputs are not permitted"):
        catalog.read(path)


def test_the_lab_and_the_server_read_the_same_models_in_the_same_order() -> None:
    assert list(catalog.models()) == list(MODELS)
    for name, model in catalog.models().items():
        found = (model.summary, model.family, [*model.transports], model.workers, model.options)
        mine = MODELS[name]
        assert found == (mine.summary, mine.family, mine.transports, mine.workers, mine.options)


def test_completion_proposes_the_models_of_the_manifest() -> None:
    assert completion.models("") == list(MODELS)
    assert completion.models("epoll") == ["epoll_lt", "epoll_et"]


def test_a_server_with_a_bad_manifest_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text("models = 1\n")
    monkeypatch.setattr(manifest, "PATH", path)
    assert app.main(["poll"]) == 2
    assert capsys.readouterr().err == "manifest.toml: models: 1; a table is needed\n"


def test_flags_win_over_the_environment_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MODEL", "poll")
    monkeypatch.setenv("LAB_PORT", "7000")
    monkeypatch.setenv("LAB_BACKLOG", "50")
    found = resolve("--port", "0")
    assert (found.model, found.port, found.backlog, found.wire, found.handler) == (
        "poll",
        0,
        50,
        "http1",
        "hello",
    )
    assert resolve("epoll_lt", "--wire", "echo").handler == "echo"
    assert resolve("sigio_udp").wire == "datagram"


def test_options_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("nonblocking").options == {"idle_sleep": "0ms"}
    assert resolve("nonblocking", "--option", "idle_sleep=5ms").options == {"idle_sleep": "5ms"}
    monkeypatch.setenv("LAB_OPTIONS", "processes=3")
    assert resolve("prefork").options == {"processes": "3"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["epol"], "model: unknown 'epol'; known: blocking"),
        ([], "model: unknown ''"),
        (["poll", "--wire", "smoke"], "wire: unknown 'smoke'"),
        (["poll", "--wire", "datagram"], "wire: datagram needs udp; poll serves tcp only"),
        (["sigio_udp", "--wire", "http1"], "wire: http1 needs tcp; sigio_udp serves udp only"),
        (["poll", "--port", "x"], "port: 'x'; allowed: a whole number from 0 to 65535"),
        (["poll", "--backlog", "0"], "backlog: '0'"),
        (["process", "--workers", "2"], "workers: process supports 1 only"),
        (["poll", "--nodelay", "maybe"], "nodelay: 'maybe'; allowed: on, off"),
        (["poll", "--option", "x=1"], "option: poll has no 'x'; known: none"),
    ],
)
def test_a_wrong_setting_is_named(line: list[str], says: str) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        resolve(*line)
    assert str(caught.value).startswith(says)


def test_handlers_answer() -> None:
    assert set(handlers.NAMES) == set(HANDLERS), "the handlers of the server, and those of a scenario"
    assert handlers.load("hello").answer(b"x") == b"Hello, World!"
    assert handlers.load("json").answer(b"x") == handlers.JSON
    assert handlers.load("echo").answer(b"x") == b"x"
    assert handlers.load("sleep:10ms").wait_s == 0.01
    file = handlers.load("file:33B").answer(b"")
    assert isinstance(file, SendFile)
    assert file.length == 33


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_answers_what_the_swarm_expects(name: str) -> None:
    spec = name if HANDLERS[name] is None else f"{name}:{HANDLERS[name]}"
    answer = handlers.load(spec).answer(b"sent")
    if isinstance(answer, SendFile):
        answer = os.pread(answer.fd, answer.length, answer.offset)
    assert answer == expected_answer(spec, b"sent")


def test_the_cpu_handler_burns_what_it_is_told() -> None:
    import time

    handler = handlers.load("cpu:5ms")
    begin_ns = time.thread_time_ns()
    handler.answer(b"")
    assert time.thread_time_ns() - begin_ns >= 5e6


@pytest.mark.alone
def test_the_cpu_handler_burns_little_more_than_it_is_told() -> None:
    import time

    handler = handlers.load("cpu:5ms")
    begin_ns = time.thread_time_ns()
    handler.answer(b"")
    assert time.thread_time_ns() - begin_ns < 10e6


@pytest.mark.parametrize(
    "spec", ["nothing", "hello:x", "sleep", "sleep:10", "sleep:2min", "file:9GiB", "cpu:-1ms"]
)
def test_a_wrong_handler_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"unknown|no argument|bad|more than"):
        handlers.load(spec)


def test_units() -> None:
    assert [units.seconds(text) for text in ("200us", "1.5s", "0ms")] == pytest.approx([0.0002, 1.5, 0.0])
    assert units.size_bytes("64KiB") == 65536
    with pytest.raises(ValueError, match="longer than 60s"):
        units.seconds("61s")


def test_a_scenario_knows_the_bounds_of_the_server_and_of_the_wire():
    assert (handler.MAX_S, handler.MAX_BYTES) == (units.MAX_SECONDS, units.MAX_BYTES)
    assert handler.MAX_DATAGRAM_BYTES == datagram.MAX_PAYLOAD_BYTES
