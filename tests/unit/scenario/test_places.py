"""An error about several keys points to the key or the value that is wrong, or that was set last."""

# ruff: noqa: E501  (tables are easier to read in one line a row)

from pathlib import Path

import pytest

from lab.common.errors import UsageError
from lab.scenario.resolve import load
from lab.scenario.trust import require_digests

GOOD = """\
# Does it load?
name: good
servers:
  thread: {model: thread}
  epoll_lt: {model: epoll_lt}
swarm:
  users: 10
  phases: {warmup: 1s, measure: 10s}
  load: {executor: constant-arrival-rate, rate: 100/s}
links:
  - {endpoints: [swarm, servers], delay: 20ms, jitter: 2ms}
"""
GROUPS = """\
name: groups
servers: {thread: {model: thread}}
swarm:
  near: {users: 10, load: {executor: constant-users, think-time: 1s}}
  far: {users: 10, load: {executor: constant-users, think-time: 1s}}
"""


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Return the error of a scenario."""
    monkeypatch.chdir(tmp_path)

    def run(text, **options):
        Path("s.yaml").write_text(text)
        with pytest.raises(UsageError) as caught:
            load(Path("s.yaml"), lab_yaml=Path("lab.yaml"), **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


ADDED = [  # lines after GOOD, which has 11
    ("events: [{at: 1s, pause: nobody, for: 1s}]", "12:26: events[0].pause: unknown node 'nobody'"),
    ("events: [{at: 1s, kill: worker-9}]", "12:25: events[0].kill: unknown node 'worker-9'"),
    ("events: [{at: 1s, restart: worker-0}]", "12:28: events[0].restart: only a server with a model"),
    ("events: [{at: 1s, link: [swarm, thread], clear: true}]", "12:25: events[0].link: unknown link [swarm, thread]"),
    ("events: [{at: 1s, partition: [swarm, thread], for: 1s}]", "12:30: events[0].partition: unknown link"),
    ("events: [{at: 9s, pause: thread, for: 2s}]", "12:39: events[0].for: the event ends after"),
    ("events: [{at: 11s, kill: thread}]", "12:15: events[0].at: the event begins after"),
    ("events: [{at: 1s, pause: thread}]", "12:19: events[0].pause: pause needs `for`"),
    ("events: [{at: 1s, kill: thread, for: 1s}]", "12:33: events[0].for: kill cannot be undone"),
    ("events: [{at: 1s, pause: thread, kill: thread}]", "12:34: events[0].kill: an event has exactly one of"),
    ("events: [{at: 1s}]", "12:10: events[0]: an event has exactly one of"),
    ("events: [{at: 1s, limit: thread}]", "12:19: events[0].limit: limit needs cpus or memory"),
    ("events: [{at: 1s, kill: thread, memory: 1GiB}]", "12:33: events[0].memory: kill takes no cpus"),
    ("events: [{at: 1s, kill: thread, link: [swarm, servers]}]", "12:33: events[0].link: kill takes no link"),
    ("events: [{at: 1s, set: {delay: 5ms}}]", "12:19: events[0].set: set needs a link"),
    ("events: [{at: 1s, link: [swarm, servers], clear: false}]", "12:50: events[0].clear: clear must be true"),
    ("events: [{at: 1s, link: [swarm, servers], merge: {jitter: 30ms}}]", "12:59: events[0].merge.jitter: jitter 30 ms exceeds"),
    ("events: [{at: 1s, link: [swarm, servers], merge: {delay: 1ms}}]", "12:58: events[0].merge.delay: jitter 2 ms exceeds the delay of 1 ms"),
    ("events: [{at: 1s, link: [swarm, servers], set: {jitter: 1ms}}]", "12:57: events[0].set.jitter: jitter needs a delay"),
    ("events: [{at: 1s, link: [swarm, servers], set: {delay: 1ms, jitter: 2ms}}]", "12:69: events[0].set.jitter: jitter 2 ms"),
    ("events: [{at: 1s, link: [swarm, servers], ramp: {to: {limit: 9}}, for: 1s}]", "12:55: events[0].ramp.to.limit: limit cannot change"),
    ("events: [{at: 1s, link: [swarm, servers], ramp: {to: {delay: 1ms}}, for: 1s}]", "12:62: events[0].ramp.to.delay: jitter 2 ms"),
    ("thresholds: {thred: {latency: ['p(99)<1s']}}", "12:14: thresholds.thred: unknown server 'thred'; did you mean thread?"),
    ("thresholds: {thread: {latncy: ['p(99)<1s']}}", "12:23: thresholds.thread.latncy: unknown metric 'latncy'"),
    ("thresholds: {thread: {latency: ['p(99)<1s', 'p(99)<1']}}", "12:45: thresholds.thread.latency[1]: 'p(99)<1': 1 has no unit"),
    ("thresholds: {thread: {latency: [{threshold: 'p(99)<1'}]}}", "12:45: thresholds.thread.latency[0].threshold: 'p(99)<1'"),
    ("thresholds: {thread: {errors: ['rate<0.01']}}", "12:32: thresholds.thread.errors[0]: 'rate<0.01': 0.01 has no unit: write 1% if it is a share of 1 (as in k6), else 0.01%"),
    ("expect: {nobody: {max_open: 3}}", "12:10: expect.nobody: unknown server 'nobody'"),
    ("handler: {slep: 1s}", "12:11: handler.slep: unknown handler 'slep'"),
    ("thresholds: {thread: {errors: ['rate<5']}}", "12:32: thresholds.thread.errors[0]: 'rate<5': 5 has no unit: write a percentage such as 5%"),
    ("thresholds: {thread: {latency: [{threshold: 'p(99)<1s', abort: true}]}}", "12:57: thresholds.thread.latency[0].abort: unknown key 'abort'; did you mean abort_on_fail"),
    ("thresholds: {thread: {latency: [{threshold: 'p(99)<1s', abort_on_fail: 1}]}}", "12:72: thresholds.thread.latency[0].abort_on_fail: write true or false"),
    ("thresholds: {thread: {latency: [{threshold: 'p(99)<1s', abort_on_fail: [x]}]}}", "12:72: thresholds.thread.latency[0].abort_on_fail: write true or false"),
    ("thresholds: {thread: {latency: [{threshold: 5}]}}", "12:45: thresholds.thread.latency[0].threshold: write the condition as text: "),
    ("thresholds: {thread: {latency: [{abort_on_fail: true}]}}", "12:33: thresholds.thread.latency[0]: 'threshold' is missing: "),
    ("thresholds: {thread: {latency: [5]}}", "12:33: thresholds.thread.latency[0]: write 'p(99)<100ms', or {threshold: "),
    ("thresholds: {thread: {latency: [{threshold: 'p(99)<1s', abort_on_fail: true, delay_abort_eval: 2}]}}", "12:96: thresholds.thread.latency[0].delay_abort_eval: 2 has no unit"),
    ("thresholds: {thread: {latency: [{threshold: 'p(99)<1s', delay_abort_eval: 2s}]}}", "12:75: thresholds.thread.latency[0].delay_abort_eval: delay_abort_eval needs abort_on_fail: true"),
    ("handler: {file: 2MiB}", "12:17: handler.file: 2MiB is more than 1MiB"),
    ("handler: {sleep: 2min}", "12:18: handler.sleep: 2min is more than 60s"),
    ("handler: {sleep: 10}", "12:18: handler.sleep: 10 has no unit: write a duration such as 10ms"),
    ("handler: {cpu: 200}", "12:16: handler.cpu: 200 has no unit: write a duration such as 200us"),
    ("handler: {file: 64}", "12:17: handler.file: 64 has no unit: write a size such as 64KiB"),
    ("handler: {file: 64KiB, sleep: 1ms}", "12:10: handler: write one handler, such as hello or {sleep: 10ms}, not 2: file, sleep"),
    ("handler: [hello]", "12:10: handler: write one handler, such as hello or {sleep: 10ms}"),
    ("question: [a]", "12:11: question: write text, such as 'Which server is faster?'"),
    ("events: [{at: 50s, pause: thread, for: 1s}]", "12:15: events[0].at: the event begins after the measured window (10s)"),
    ("events: [{at: 1, kill: thread}]", "12:15: events[0].at: 1 has no unit: write a duration such as 1s"),
    ("repeat: yes", "12:9: repeat: YAML 1.1 reads yes as a boolean: write a value such as 3"),
    ("question: no", "12:11: question: YAML 1.1 reads no as a boolean: quote it as 'no'"),
    ("thresholds: {thread: {cpu_us_per_request: ['value<20']}}", "12:44: thresholds.thread.cpu_us_per_request[0]: 'value<20': 20 has no unit: write a duration such as 20us"),
    ("thresholds: {thread: {latency: ['p(99)<20']}}", "12:33: thresholds.thread.latency[0]: 'p(99)<20': 20 has no unit: write a duration such as 20ms"),
    ("thresholds: {thread: {memory_peak_bytes: ['value<20']}}", "12:43: thresholds.thread.memory_peak_bytes[0]: 'value<20': 20 has no unit: write a size such as 20B"),
]  # fmt: skip
CHANGED = [
    ("model: thread}", "model: process, workers: 2}", "4:37: servers.thread.workers: process runs as one process"),
    ("  epoll_lt: {", "  server: {", "5:3: servers.server: server cannot name a server"),
    ("users: 10", "users: 10\n  wire: datagram", "4:19: servers.thread.model: thread supports tcp, but wire datagram"),
    ("users: 10", "users: 10\n  workers: 11", "8:12: swarm.workers: 11 workers need at least 11 users"),
    ("users: 10", "users: 1", "7:10: swarm.users: 2 workers need at least 2 users"),
    ("measure: 10s", "measure: 10ms", "8:33: swarm.phases.measure: must be at least 1s"),
    ("endpoints: [swarm, servers]", "endpoints: [swarm, thred]", "11:25: links[0].endpoints[1]: unknown endpoint 'thred'"),
    ("endpoints: [swarm, servers]", "endpoints: [thread, servers]", "11:17: links[0].endpoints: a link joins"),
    ("endpoints: [swarm, servers]", "endpoints: [swarm, swarm]", "11:25: links[0].endpoints[1]: both endpoints are swarm"),
    ("delay: 20ms", "delay: 20", "11:42: links[0].delay: 20 has no unit: write a duration such as 20ms"),
    ("users: 10", "users: yes", "7:10: swarm.users: YAML 1.1 reads yes as a boolean: write a value such as 100"),
    ("users: 10", "users: 10\n  clients: {churn: yes}", "8:20: swarm.clients.churn: YAML 1.1 reads yes as a boolean: write true"),
    ("users: 10", "users: 10\n  clients: {idle: 60%, slow: 60%}", "8:30: swarm.clients.slow: idle and slow are together 120%"),
    ("users: 10", "users: 10\n  request-timeout: 0s", "8:20: swarm.request-timeout: must be more than 0s"),
    ("users: 10", "users: 10\n  connect-deadline: 0s", "8:21: swarm.connect-deadline: must be more than 0s"),
    ("users: 10", "users: 10\n  drain: 5", "8:10: swarm.drain: 5 has no unit: write a duration such as 5s"),
    ("measure: 10s", "measure: 10", "8:33: swarm.phases.measure: 10 has no unit: write a duration such as 10s"),
    ("delay: 20ms, ", "", "11:43: links[0].jitter: jitter needs a delay"),
    ("jitter: 2ms", "back: {jitter: 30ms}", "11:63: links[0].back.jitter: jitter 30 ms exceeds the delay of 20 ms"),
    ("jitter: 2ms", "back: {gap: 3}", "11:60: links[0].back.gap: gap needs reorder"),
    ("jitter: 2ms", "correlation: 5%", "11:61: links[0].correlation: correlation needs jitter"),
    ("delay: 20ms", "delay: 2min", "11:42: links[0].delay: 120s is more than 60s"),
    ("delay: 20ms, jitter: 2ms", "rate: 1bit", "11:41: links[0].rate: 1 bit/s is below the minimum"),
    ("delay: 20ms, jitter: 2ms", "profile: lan, jitter: 9ms", "11:57: links[0].jitter: jitter 9 ms exceeds the delay of 0.25 ms"),
]  # fmt: skip


LINKS = [  # a second link of a worker and a server
    ("swarm, servers", "swarm, epoll_lt", "worker-0 and epoll_lt have a link already, links[0] [swarm, servers]"),
    ("worker-0, servers", "thread, worker-0", "worker-0 and thread have a link already, links[0] [worker-0, servers]"),
    ("worker-1, thread", "swarm, thread", "worker-1 and thread have a link already, links[0] [worker-1, thread]"),
    ("worker-1, thread", "worker-0, thread", ""),
    ("swarm, thread", "swarm, epoll_lt", ""),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "says"), LINKS)
def test_a_worker_and_a_server_have_one_link(tmp_path, one, other, says):
    text = GOOD.replace("[swarm, servers]", f"[{one}]") + f"  - {{endpoints: [{other}], delay: 1ms}}\n"
    (tmp_path / "s.yaml").write_text(text)
    if not says:
        assert load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml", source="s.yaml")
        return
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml", source="s.yaml")
    assert str(caught.value) == f"s.yaml:12:17: links[1].endpoints: {says}: write one for both"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"runtime": "x"}, "--runtime: unknown value 'x'; known: auto, docker, local"),
        ({"environment": {"LAB_RUNTIME": "x"}}, "$LAB_RUNTIME: unknown value 'x'"),
        ({"environment": {"LAB_REAL_TIME": "x"}}, "$LAB_REAL_TIME: write true or false"),
        ({"overrides": ["swarm.users=yes"]}, "--set swarm.users: YAML 1.1 reads yes as a boolean: write a value such as 100"),
        ({"overrides": ["links.1.delay=1ms"]}, "--set links.1.delay: links has no element 1"),
    ],
)  # fmt: skip
def test_a_flag_or_variable_is_named_once(refused, options, says):
    assert refused(GOOD, **options).startswith(says)


@pytest.mark.parametrize("pool", ["x", "198.18.0.1/15", "2600::/16", "8.0.0.0/8", "10.0.0.0/24"])
def test_a_wrong_network_pool_is_one_plain_error(refused, pool):
    Path("lab.yaml").write_text(f"network-pool: '{pool}'\n")
    text = refused(GOOD)
    assert text.startswith("lab.yaml:1:15: network-pool: ")
    assert not [raw for raw in ("host bits", "appear") if raw in text]


@pytest.mark.parametrize(("added", "says"), ADDED)
def test_it_points_to_what_is_wrong_in_a_part(refused, added, says):
    assert refused(f"{GOOD}{added}\n").startswith(f"s.yaml:{says}")


@pytest.mark.parametrize(("old", "new", "says"), CHANGED)
def test_it_points_to_the_wrong_value(refused, old, new, says):
    assert old in GOOD
    assert refused(GOOD.replace(old, new)).startswith(f"s.yaml:{says}")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("far: {users", "thread: {users", "5:3: swarm.thread: a server has the same name"),
        ("far: {users", "master: {users", "5:3: swarm.master: master cannot name a group"),
        ("far: {users: 10", "far: {users: 10, wire: echo", "5:26: swarm.far.wire: wire must be the same"),
        ("near: {users: 10", "near: {users: 10, wire: echo", "4:27: swarm.near.wire: wire must be the same"),
        ("far: {", f"{'f' * 60}: {{", f"5:3: swarm.{'f' * 60}: at most 50 characters: its nodes"),
        ("far: {users: 10", "far: {users: 1", "5:16: swarm.far.users: 2 workers need"),
    ],
)
def test_it_points_into_a_group(refused, old, new, says):
    assert refused(GROUPS.replace(old, new)).startswith(f"s.yaml:{says}")


WIRES = [  # what each wire cannot carry
    ("greet", "json", "2:10: handler: wire greet has a greeting in place of answers"),
    ("greet", "echo", "2:10: handler: wire greet"),
    ("greet", "{sleep: 1s}", "2:18: handler.sleep: wire greet"),
    ("greet", "{cpu: 200us}", "2:16: handler.cpu: wire greet"),
    ("greet", "{file: 64KiB}", "2:17: handler.file: wire greet"),
    ("datagram", "{file: 128KiB}", "2:17: handler.file: an answer of 131,072 bytes is more than wire datagram can carry: 65,499"),
    ("datagram", "{file: 65500B}", "2:17: handler.file: an answer of 65,500 bytes"),
]  # fmt: skip
CARRIED = [
    *((wire, handler) for wire in ("http1", "echo") for handler in ("{file: 1MiB}", "{sleep: 60s}", "json", "echo", "{cpu: 1ms}")),
    *(("datagram", handler) for handler in ("hello", "{file: 65499B}", "{sleep: 1s}", "json", "echo", "{cpu: 1ms}")),
    ("greet", "hello"),
]  # fmt: skip


def on_wire(wire, handler):
    model = "sigio_udp" if wire == "datagram" else "thread"
    text = GROUPS.split("swarm:")[0].replace("model: thread", f"model: {model}")
    text = text.replace("\n", f"\nhandler: {handler}\n", 1)
    return text + f"swarm: {{users: 10, wire: {wire}, load: {{executor: constant-users, think-time: 1s}}}}\n"


@pytest.mark.parametrize(("wire", "handler", "says"), WIRES)
def test_a_handler_that_the_wire_cannot_carry_is_refused(refused, wire, handler, says):
    assert refused(on_wire(wire, handler)).startswith(f"s.yaml:{says}")


@pytest.mark.parametrize(("wire", "handler"), CARRIED)
def test_a_handler_that_the_wire_carries_is_valid(tmp_path, wire, handler):
    (tmp_path / "s.yaml").write_text(on_wire(wire, handler))
    assert load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml").scenario.swarm.wire == wire


@pytest.mark.parametrize(
    ("written", "text"),
    [("{sleep: 1min}", "sleep:60s"), ("{file: 1KB}", "file:1000B"), ("{sleep: 10ms}", "sleep:10ms")],
)
def test_the_server_is_told_a_unit_that_it_reads(tmp_path, written, text):
    (tmp_path / "s.yaml").write_text(on_wire("http1", written))
    assert load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml").scenario.handler == text


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["swarm.users=1"], "--set swarm.users: 2 workers need at least 2 users"),
        (["swarm.workers=20"], "--set swarm.workers: 20 workers need at least 20 users"),
        (["swarm.users=5", "swarm.workers=20"], "--set swarm.workers: 20 workers need"),
        (["swarm.wire=datagram"], "--set swarm.wire: thread supports tcp"),
        (["servers.thread.model=udp"], "--set servers.thread.model: "),
        (["links.0.delay=1ms"], "--set links.0.delay: jitter 2 ms exceeds the delay of 1 ms"),
        (["events=[{at: 1s, pause: x, for: 1s}]"], "--set events: events[0].pause: unknown node 'x'"),
        (["swarm.load.executor=ramping-users"], "--set swarm.load.executor: ramping-users needs think-time"),
    ],
)  # fmt: skip
def test_it_names_the_flag_that_made_it_wrong(refused, overrides, says):
    assert refused(GOOD, overrides=overrides).startswith(says)


def test_it_names_the_flag_that_shortens_the_window_of_an_event(refused):
    text = GOOD + "events: [{at: 5s, kill: thread}]\n"
    assert refused(text, overrides=["swarm.phases.measure=2s"]).startswith(
        "--set swarm.phases.measure: the event"
    )


def test_it_names_the_default_of_lab_yaml_only_if_nothing_newer_concerns_it(refused):
    Path("lab.yaml").write_text("defaults:\n  swarm: {workers: 20}\n")
    assert refused(GOOD).startswith("s.yaml:7:10: swarm.users: 20 workers need")
    Path("lab.yaml").write_text("defaults:\n  server: {workers: 2}\n")
    text = GOOD.replace("model: thread", "model: process")
    assert refused(text).startswith("s.yaml:4:19: servers.thread.model: process runs as one process")


many = f"[{', '.join(map(str, range(10, 410)))}]"
SWEPT = [
    ("{links.1.delay: [1ms, 2ms]}", "12:9: sweep.links.1.delay: links has no element 1: its elements are 0 to 0"),
    ("{swarm.users.x: [1, 2]}", "12:9: sweep.swarm.users.x: swarm.users is 10, so it has no key x"),
    ("{swarm.users: [yes]}", "12:23: sweep.swarm.users[0]: YAML 1.1 reads yes"),
    ("{swarm.user: [1, 2]}", "12:9: sweep.swarm.user: unknown key 'user'; did you mean users"),
    ("{servers.u.model: [poll, select]}", "12:9: sweep.servers.u.model: unknown server 'u'; known: thread, epoll_lt"),
    ("{swarm.users: []}", "12:22: sweep.swarm.users: give at least one value"),
    ("{swarm.users: [5, 5]}", "12:26: sweep.swarm.users[1]: 5 is there twice"),
    ("{repeat: [1, 2]}", "12:9: sweep.repeat: repeat is not a property of a point"),
    ("{name: [a, b]}", "12:9: sweep.name: name is not a property of a point"),
    ("{sweep.swarm.users: [[1], [2]]}", "12:9: sweep.sweep.swarm.users: sweep is not a property of a point"),
    ("{servers: [{a: {model: thread}}]}", "12:9: sweep.servers: servers is not a property of a point"),
    ("{swarm.wire: [http1, datagram]}", "12:29: sweep.swarm.wire = datagram: thread supports tcp"),
    ("{servers.thread.model: [poll, process], servers.thread.workers: [2]}", "12:73: sweep.servers.thread.workers = 2 with servers.thread.model = process: process runs as one process"),
    ("{swarm.load: [{executor: constant-arrival-rate, rat: 1/s}]}", "12:56: sweep.swarm.load = "),
    ("{swarm.users: [100, 5], swarm.workers: [10, 2]}", "12:48: sweep.swarm.workers = 10 with swarm.users = 5: 10 workers need at least 10 users"),
    (f"{{swarm.users: {many}, swarm.spawn-rate: {many}, seed: {many}}}", "12:8: sweep: 400 × 400 × 400 values are 64,000,000 points: at most 1,000"),
]  # fmt: skip


@pytest.mark.parametrize(("sweep", "says"), SWEPT)
def test_it_points_into_the_sweep(refused, sweep, says):
    assert refused(f"{GOOD}sweep: {sweep}\n").startswith(f"s.yaml:{says}")


def test_a_sweep_of_the_most_points_is_valid(tmp_path, monkeypatch):
    monkeypatch.setattr("lab.scenario.sweep.MAX_POINTS", 20)  # a thousand take half a minute on a busy host
    (tmp_path / "s.yaml").write_text(f"{GOOD}sweep: {{seed: {list(range(20))}}}\n")
    assert load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml").scenario.sweep


DIGEST = f"mine@sha256:{'0' * 64}"
TAGS = [
    (("{model: thread}", "{model: thread, image: mine:1}"), "", "4:34: servers.thread.image: mine:1 is a tag"),
    (("", ""), 'sweep: {servers.thread.image: ["any:tag"]}', "12:32: sweep.servers.thread.image = any:tag: any:tag is a tag"),
    (("", ""), f"sweep: {{servers.thread: [{{image: '{DIGEST}'}}, {{image: x:1}}]}}", "12:123: sweep.servers.thread = {image: x:1}: servers.thread.image: x:1 is a tag"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "more", "says"), TAGS)
def test_an_image_by_tag_needs_trust_also_in_a_sweep(tmp_path, change, more, says):
    (tmp_path / "s.yaml").write_text(GOOD.replace(*change) + more + "\n")
    resolved = load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml", source="s.yaml")
    with pytest.raises(UsageError) as caught:
        require_digests(resolved)
    assert str(caught.value).startswith(f"s.yaml:{says}")
    assert "--trusted" in str(caught.value)


def test_an_image_by_digest_needs_no_trust(tmp_path):
    text = GOOD.replace("{model: thread}", f"{{model: thread, image: '{DIGEST}'}}")
    (tmp_path / "s.yaml").write_text(text + f"sweep: {{servers.thread.image: ['{DIGEST}']}}\n")
    require_digests(load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml"))


COMMENTS = [
    ("# yaml-language-server: $schema=../x.json\n# Why?\n", "Why?"),
    ("# SPDX-License-Identifier: MIT\n# Copyright 2026 A. Person\n# Why?\n", "Why?"),
    ("#!/usr/bin/env lab\n#\n# Why?\n", "Why?"),
    ("# Copyright (c) 2026\n\n# Why?\n", "Why?"),
    ("# Which server copes?\n# SPDX-License-Identifier: MIT\n", "Which server copes?"),
    ("# yaml-language-server: $schema=../x.json\n", ""),
]


@pytest.mark.parametrize(("comments", "question"), COMMENTS)
def test_the_question_is_the_first_comment_for_a_reader(tmp_path, comments, question):
    (tmp_path / "s.yaml").write_text(comments + GROUPS)
    assert load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml").scenario.question == question


def test_a_group_of_the_longest_name_is_valid(tmp_path):
    (tmp_path / "s.yaml").write_text(GROUPS.replace("far:", f"{'f' * 50}:"))
    found = load(tmp_path / "s.yaml", lab_yaml=tmp_path / "lab.yaml").scenario.swarm
    assert max(len(f"net-{node}") for node in found.worker_nodes) == 63
