"""A scenario reads its own dump; what a person writes still needs its units."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from lab import schema
from lab.common import units
from lab.common.errors import UsageError
from lab.common.paths import ROOT
from lab.scenario.link import BitRate
from lab.scenario.scenario import Scenario
from lab.scenario.strict import AS_WRITTEN, Arrivals, Bytes, BytesPerS, Seconds, Share
from lab.verbs import shared
from lab.verbs.completion import scenario_names
from tests.support.scenarios import TEXT, resolved

GOLDEN = ROOT / "tests/data/golden/trials"

EVERY_KEY = """\
# The question.
name: every-key
servers:
  thread: {model: thread, port: 9200, backlog: 512, cpus: 0.5, memory: 256MiB, nofile: 4096, pids: 300}
  epoll_lt: {model: epoll_lt, workers: 2}
  own: {image: my/server:1}
handler: {sleep: 10ms}
swarm:
  browsers:
    users: 20
    spawn-rate: 50
    workers: 1
    engines: 2
    load:
      executor: ramping-arrival-rate
      start-rate: 60/min
      stages: [{duration: 1s, target: 100/s}, {duration: 0s, target: 0/s}]
      arrivals: poisson
    page: {paths: [/, /json], at-once: true}
    phases: {warmup: 500ms, measure: 10s, cooldown: 2s}
    connect-deadline: 2s
    request-timeout: 1500ms
    drain: 1min
  holders:
    users: 30
    workers: 3
    load:
      executor: ramping-users
      think-time: {lognormal: {median: 100ms, sigma: 1}}
      stages: [{duration: 2s, target: 40}]
    clients: {slow: 10%, slow-side: write, slow-rate: 10B/s, churn: true}
    phases: {warmup: 500ms, measure: 10s, cooldown: 2s}
  thinkers:
    wire: http1
    users: 9
    workers: 1
    load: {executor: constant-users, think-time: {uniform: [100ms, 900ms]}}
    clients: {idle: 33.3%}
    phases: {warmup: 500ms, measure: 10s, cooldown: 2s}
  mine:
    users: 4
    locustfile: users/mine.py
    phases: {warmup: 500ms, measure: 10s, cooldown: 2s}
links:
  - {endpoints: [browsers, servers], profile: lte, loss: {state: [1%, 20%, 0%, 100%, 0.5%]}, limit: auto}
  - endpoints: [holders, thread]
    delay: 20ms
    jitter: 5ms
    correlation: 25%
    distribution: normal
    corrupt: 0.1%
    reorder: 5%
    gap: 5
    rate: 10mbit
    there: {delay: 30ms, loss: {gemodel: [1%, 10%, 70%, 0.1%]}, limit: 500}
    back: {duplicate: 1%, loss: 2%, loss-correlation: 25%}
  - {endpoints: [servers, thinkers], delay: 1ms}
events:
  - {at: 1s, link: [holders, thread], set: {delay: 5ms, loss: {state: [1%, 20%, 0%, 100%, 0.5%]}}, for: 500ms}
  - {at: 2s, link: [holders, thread], merge: {loss: 3%}}
  - {at: 3s, link: [holders, thread], ramp: {to: {delay: 120ms, rate: 1mbit}, steps: 5}, for: 2s}
  - {at: 4s, link: [servers, thinkers], clear: true}
  - {at: 4s, partition: [servers, thinkers], for: 100ms}
  - {at: 5s, pause: thread, for: 100ms}
  - {at: 5s, kill: own}
  - {at: 6s, restart: thread}
  - {at: 7s, limit: thread, cpus: 0.25, memory: 64MiB, for: 1s}
sweep:
  links.1.delay: [1ms, 20ms]
  swarm.browsers.users: [20, 40]
repeat: 3
seed: 5
thresholds:
  thread:
    latency: ['p(99)<100ms', {threshold: 'med<=5ms', abort_on_fail: true, delay_abort_eval: 2s}]
    errors: ['rate<0.1%']
expect:
  thread: {served_at_once: 1, max_open: 1024}
"""


def read_back(scenario: Scenario) -> Scenario:
    """The scenario out of the JSON text of its dump."""
    return Scenario.model_validate(json.loads(json.dumps(scenario.model_dump(mode="json"))))


@pytest.mark.parametrize("name", scenario_names())
def test_every_bundled_scenario_reads_its_own_dump(name: str) -> None:
    _, made = shared.load(str(shared.find_scenario(name)))
    assert read_back(made.scenario) == made.scenario


def test_the_scenario_with_every_key_has_every_key() -> None:
    root = json.loads(schema.text("scenario"))
    keys = {key for part in (root, *root["$defs"].values()) for key in part.get("properties", {})}
    assert not [key for key in keys if not re.search(rf"\b{re.escape(key)}\b", EVERY_KEY)]


def test_so_does_a_scenario_with_every_key(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "mine.py").touch()
    scenario = resolved(tmp_path, EVERY_KEY).scenario
    back = read_back(scenario)
    assert back == scenario
    assert back.model_dump(mode="json") == scenario.model_dump(mode="json")
    assert [link.impairments(3) for link in back.links] == [link.impairments(3) for link in scenario.links]


LOADS = [
    "{executor: constant-arrival-rate, rate: 100/s, arrivals: poisson}",
    "{executor: ramping-arrival-rate, start-rate: 0/s, stages: [{duration: 1s, target: 9/s}]}",
    "{executor: constant-users, think-time: 0s}",
    "{executor: constant-users, think-time: {exponential: 500ms}}",
    "{executor: ramping-users, think-time: 1s, stages: [{duration: 1s, target: 9}]}",
]


@pytest.mark.parametrize("load", LOADS)
def test_so_does_every_executor(tmp_path: Path, load: str) -> None:
    scenario = resolved(
        tmp_path, TEXT.replace("{executor: constant-arrival-rate, rate: 100/s}", load)
    ).scenario
    assert read_back(scenario) == scenario


def test_groups_that_only_together_have_too_few_users_are_read_back(tmp_path: Path) -> None:
    """As one swarm they would share 4 workers of 2 engines among 5 users."""
    load = "load: {executor: constant-arrival-rate, rate: 1/s}"
    groups = (
        f"swarm:\n  a: {{users: 2, workers: 1, engines: 2, {load}}}\n  b: {{users: 3, workers: 3, {load}}}\n"
    )
    scenario = resolved(tmp_path, TEXT.partition("swarm:")[0] + groups).scenario
    assert read_back(scenario) == scenario


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/record.json")), ids=lambda path: path.parent.name)
def test_a_kept_record_has_a_scenario(path: Path) -> None:
    record = json.loads(path.read_text())
    scenario = Scenario.model_validate(record["scenario"])
    assert record["server"] in scenario.servers
    assert scenario.swarm.load.rate == 2000.0


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rate: 100/s", "rate: 100", "swarm.load.rate: 100 has no unit"),
        ("users: 10", "users: 10\n  drain: 5", "swarm.drain: 5 has no unit"),
        ("rate: 100/s", "rate: 100.5", "swarm.load.rate: 100.5 has no unit"),
        (
            "constant-arrival-rate, rate: 100/s",
            "constant-users, think-time: 1",
            "swarm.load.think-time: 1 has no",
        ),
        (
            "constant-arrival-rate, rate: 100/s",
            "constant-users, think-time: {exponential: 1}",
            "swarm.load.think-time.exponential: 1 has no",
        ),
        (
            "constant-arrival-rate, rate: 100/s",
            "ramping-arrival-rate, start-rate: 1/s, stages: [{duration: 1s, target: 1.5}]",
            "swarm.load.stages[0].target: 1.5 has no unit",
        ),
        ("constant-arrival-rate, rate: 100/s", "own-users", "unknown executor 'own-users'"),
        ("constant-arrival-rate, rate: 100/s", "by-group", "unknown executor 'by-group'"),
        ("{model: thread}", "{model: thread, memory: 65536}", "servers.thread.memory: 65536 has no unit"),
        ("users: 10", "users: 10\n  clients: {idle: 0.5}", "swarm.clients.idle: 0.5 has no unit"),
    ],
)
def test_what_a_person_writes_needs_its_unit(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError) as caught:
        resolved(tmp_path, TEXT.replace(old, new))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("delay: 20", "links[0].delay: 20 has no unit"),
        ("loss: 0.1", "links[0].loss: 0.1 has no unit"),
        ("loss: {loss: 0.1}", "links[0].loss: write a percentage, {state"),
        ("loss: {loss_state: [0, 0, 0, 0, 0]}", "links[0].loss: write a percentage, {state"),
        ("loss: {gemodel: [0.1, 0.2, 0.7, 0.1]}", "links[0].loss.gemodel[0]: 0.1 has no unit"),
        ("rate: 1000000", "links[0].rate: 1000000 has no unit"),
    ],
)
def test_so_does_a_link(tmp_path: Path, link: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(tmp_path, TEXT + f"links:\n  - {{endpoints: [swarm, servers], {link}}}\n")
    assert says in str(caught.value)


def test_flags_and_sweeps_are_written_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"swarm\.drain: 5 has no unit"):
        resolved(tmp_path, TEXT, overrides=("swarm.drain=5",))


WRONG_DUMPS = [
    ({"load": {"executor": "own-users"}}, "own-users is for a swarm with a locustfile"),
    ({"load": {"executor": "by-group"}}, "by-group is for a swarm of groups"),
    ({"drain": -1.0}, "greater than or equal to 0"),
    ({"drain": float("nan")}, "finite"),
    ({"drain": True}, "a duration is wanted"),
    ({"clients": {"idle": 1.5}}, "less than or equal to 1"),
]


@pytest.mark.parametrize(("change", "says"), WRONG_DUMPS)
def test_a_dump_that_no_scenario_makes_is_refused(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    dump = resolved(tmp_path).scenario.model_dump(mode="json")
    with pytest.raises(ValidationError, match=says):
        Scenario.model_validate({**dump, "swarm": {**dump["swarm"], **change}})


QUANTITIES = [
    (Seconds, units.DURATION),
    (Bytes, units.SIZE),
    (Arrivals, {"/s": 1, "/min": 1}),
    (BytesPerS, {"B/s": 1}),
    (Share, {"%": 0.01}),
    (BitRate, units.BANDWIDTH),
]


@pytest.mark.parametrize(("kind", "of"), QUANTITIES)
@given(data=st.data())
def test_every_quantity_that_can_be_written_can_be_kept(
    kind: object, of: dict[str, float], data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, 100) | st.decimals(0, 100, places=3).map(str))
    text = f"{number}{data.draw(st.sampled_from(sorted(of)))}"
    adapter: TypeAdapter[float] = TypeAdapter(kind)
    value = adapter.validate_python(text, context=AS_WRITTEN)
    assert adapter.validate_python(text) == value
    kept = json.loads(json.dumps(adapter.dump_python(value, mode="json")))
    assert adapter.validate_python(kept) == value
    with pytest.raises(ValidationError, match="has no unit"):
        adapter.validate_python(kept, context=AS_WRITTEN)


def test_a_record_may_hold_an_event_that_is_refused_where_it_is_written(tmp_path: Path) -> None:
    link = "links:\n  - {endpoints: [swarm, servers], delay: 20ms}\n"
    event = "events:\n  - {at: 1s, link: [swarm, servers], merge: {jitter: 10ms}}\n"
    dump = resolved(tmp_path, TEXT + link + event).scenario.model_dump(mode="json")
    dump["events"][0]["merge"]["jitter"] = 0.03
    assert Scenario.model_validate(dump).events[0].merge
