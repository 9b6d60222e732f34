"""What a server is told: the manifest's reader, settings, handlers and units."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml
from iomodels import handlers, manifest, settings, units
from iomodels.session import SendFile

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "images/server/manifest.yaml").read_text(encoding="utf-8")
MODELS = manifest.load()


def resolve(*line: str) -> settings.Settings:
    return settings.resolve(settings.parser().parse_args(line), MODELS)


def test_our_reader_and_a_full_one_read_the_manifest_alike() -> None:
    assert manifest.read(TEXT) == yaml.safe_load(TEXT)


def test_each_model_is_one_file_and_one_entry() -> None:
    files = {path.stem for path in (ROOT / "images/server/iomodels/models").glob("*.py")} - {"__init__"}
    assert files == set(MODELS)
    for name in MODELS:
        assert callable(import_module(f"iomodels.models.{name}").serve)


def test_each_entry_is_complete() -> None:
    families = {"blocking", "non-blocking", "multiplexing", "signal-driven", "asynchronous"}
    for name, entry in yaml.safe_load(TEXT)["models"].items():
        assert entry["family"] in families, name
        assert isinstance(entry["memory_bytes_per_connection"], int), name
        assert isinstance(entry["needs"]["descriptors_per_connection"], int), name
        assert entry["syscalls"]["must"], name
        assert not set(entry["syscalls"]["must"]) & set(entry["syscalls"]["never"]), name
        assert all(page.endswith(")") for page in entry["man"]), name


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: c}",
        "- a",
        "a: 'x'",
        "a: b\na: c",
        "a:\n    b: c\n  d: e",
        "a: [b",
        "a: x: y",
        "a: |\n  b",
        'a: "x\\n"',
    ],
)
def test_the_reader_refuses_what_it_does_not_know(text: str) -> None:
    with pytest.raises(manifest.ManifestError, match="manifest:"):
        manifest.read(text)


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
        (["poll", "--wire", "datagram"], "wire: datagram is udp; poll serves tcp"),
        (["sigio_udp", "--wire", "http1"], "wire: http1 is tcp; sigio_udp serves udp"),
        (["poll", "--port", "x"], "port: 'x'; a whole number from 0 to 65535"),
        (["poll", "--backlog", "0"], "backlog: '0'"),
        (["process", "--workers", "2"], "workers: process"),
        (["poll", "--nodelay", "maybe"], "nodelay: 'maybe'; on or off"),
        (["poll", "--option", "x=1"], "option: poll has no 'x'; known: none"),
    ],
)
def test_a_wrong_setting_is_named(line: list[str], says: str) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        resolve(*line)
    assert str(caught.value).startswith(says)


def test_handlers_answer() -> None:
    assert handlers.NAMES == ("cpu", "echo", "file", "hello", "json", "sleep")
    assert handlers.load("hello").answer(b"x") == b"Hello, World!"
    assert handlers.load("json").answer(b"x") == handlers.JSON
    assert handlers.load("echo").answer(b"x") == b"x"
    assert handlers.load("sleep:10ms").wait_s == 0.01
    whole = handlers.load("file:33B").answer(b"")
    assert isinstance(whole, SendFile)
    assert whole.length == 33


def test_the_cpu_handler_burns_what_it_is_told() -> None:
    import time

    handler = handlers.load("cpu:5ms")
    begin_ns = time.thread_time_ns()
    handler.answer(b"")
    assert 5e6 <= time.thread_time_ns() - begin_ns < 10e6


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
