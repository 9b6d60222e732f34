"""From YAML to a Scenario: precedence, origins, and errors that say where and what would be right."""

# ruff: noqa: E501  (tables are easier to read in one line a row)

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lab.common.errors import UsageError
from lab.scenario.resolve import load
from tests.support.scenarios import TEXT, resolved

GOOD = """\
# Does it load?
name: good
servers:
  thread: {model: thread}
  epoll_lt: {model: epoll_lt, backlog: 128}
swarm:
  users: 10
  load: {executor: constant-arrival-rate, rate: 100/s}
"""
LAB_YAML = """\
runtime: auto
defaults:
  server: {backlog: 1024}
  swarm: {workers: 1, spawn-rate: 7}
"""


@pytest.fixture
def loading(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lab.yaml").write_text(LAB_YAML)

    def run(text=GOOD, **options):
        Path("s.yaml").write_text(text)
        return load(Path("s.yaml"), lab_yaml=Path("lab.yaml"), **options)

    return run


def test_a_scenario_and_where_its_values_came_from(loading):
    found = loading(overrides=["swarm.users=20"], environment={"LAB_SET_SWARM__SPAWN_RATE": "9", "HOME": "/"})
    scenario = found.scenario
    assert scenario.question == "Does it load?"
    assert scenario.servers["thread"].backlog == 1024
    assert scenario.servers["epoll_lt"].backlog == 128
    assert (scenario.swarm.users, scenario.swarm.spawn_rate, scenario.swarm.workers) == (20, 9, 1)
    assert found.origin(("swarm", "users")) == "--set swarm.users"
    assert found.origin(("swarm", "spawn-rate")) == "$LAB_SET_SWARM__SPAWN_RATE"
    assert found.origin(("swarm", "workers")) == "lab.yaml:4"
    assert found.origin(("servers", "epoll_lt", "backlog")) == "s.yaml:5"
    assert found.origin(("servers", "thread", "backlog")) == "lab.yaml:3"
    assert found.origin(("swarm", "drain")) == "built-in"


def test_flags_win_over_the_environment(loading):
    found = loading(overrides=["swarm.users=20"], environment={"LAB_SET_SWARM__USERS": "30"})
    assert found.scenario.swarm.users == 20
    assert loading(runtime="local", environment={"LAB_RUNTIME": "docker"}).settings.runtime == "local"
    assert loading(environment={"LAB_RUNTIME": "docker"}).settings.runtime == "docker"
    both = loading(runtime="local", environment={"LAB_RUNTIME": "docker", "LAB_REAL_TIME": "false"}).settings
    assert (both.runtime, both.real_time) == ("local", False)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("model: thread}", "model: epol}", "s.yaml:4:19: servers.thread.model: unknown model 'epol'; did you mean poll or epoll_lt"),
        ("users: 10", "user: 10", "s.yaml:7:3: swarm.user: unknown key 'user'; did you mean users"),
        ("users: 10", "users: ten", "s.yaml:7:10: swarm.users: "),
        ("users: 10", "users: 0", "s.yaml:7:10: swarm.users: "),
        ("rate: 100/s", "rate: 100", "s.yaml:8:49: swarm.load.rate: 100 has no unit: write an arrival rate such as 100/s"),
        ("  users: 10\n", "", "s.yaml:7:3: swarm: 'users' is missing"),
        ("executor: constant-arrival-rate", "executor: constant", "s.yaml:8:20: swarm.load.executor: unknown executor"),
        ("rate: 100/s", "think-time: 1s", "s.yaml:8:9: swarm.load: constant-arrival-rate needs rate (such as 2000/s)"),
        ("name: good", "name: Good Name", "s.yaml:2:7: name: 'Good Name' is not a valid name: use lower-case letters"),
        ("{model: thread}", "{}", "s.yaml:4:11: servers.thread: a server needs a model of the catalog, or an image"),
        ("{model: thread}", "{model: thread, memory: 64mb}", "s.yaml:4:35: servers.thread.memory: '64mb'"),
        ("users: 10", "users: 10\n  wire: datagram", "s.yaml:4:19: servers.thread.model: thread supports tcp, but wire datagram needs udp"),
        ("name: good", "name: good\nhandler: slep", "s.yaml:3:10: handler: unknown handler 'slep'; did you mean sleep"),
        ("name: good", "name: good\nhandler: {sleep: 10}", "no unit"),
        ("name: good", "name: good\nthresholds: {thread: {latency: ['p(99)<100']}}", "s.yaml:3:33: thresholds.thread.latency[0]: 'p(99)<100': 100 has no unit"),
        ("name: good", "name: good\nthresholds: {thread: {latncy: ['p(99)<1s']}}", "unknown metric 'latncy'; did you mean latency"),
        ("name: good", "name: good\nthresholds: {thread: {errors: [1]}}", "write 'p(99)<100ms', or"),
        ("name: good", "name: good\nexpect: {nobody: {max_open: 3}}", "unknown server 'nobody'"),
        ("users: 10", "users: 10\n  workers: 11", "11 workers need at least 11 users, not 10"),
        (GOOD, "", "the file is empty: a scenario needs name, servers and swarm"),
        (GOOD, "- 1", "must be a mapping of keys to values"),
    ],
)  # fmt: skip
def test_one_error_with_its_place(loading, old, new, error):
    with pytest.raises(UsageError) as caught:
        loading(GOOD.replace(old, new))
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("swarm.users", "path.to.key=value"),
        ("swarm.users=many", "--set swarm.users: write a whole number, such as 100"),
        ("swarm.usrs=1", "unknown key 'usrs'; did you mean users"),
        ("swarm.users.x=1", "swarm.users is 10, so it has no key x"),
        ("servers.thread.model=sel", "--set servers.thread.model: unknown model"),
        ("swarm.load={executor: x}", "--set swarm.load: swarm.load.executor: unknown executor"),
        ("links.5.delay=1s", "--set links.5.delay: write a list of links"),
    ],
)
def test_a_wrong_override_names_itself(loading, override, says):
    with pytest.raises(UsageError) as caught:
        loading(overrides=[override])
    assert says in str(caught.value)


def test_a_wrong_variable_names_itself(loading):
    with pytest.raises(UsageError, match=r"^\$LAB_SET_SWARM__USERS: write a whole number, such as 100$"):
        loading(environment={"LAB_SET_SWARM__USERS": "x"})


SWEEPS = [
    ("{swarm.users: []}", "s.yaml:9:22: sweep.swarm.users: give at least one value"),
    ("{swarm.users: [10, 10]}", "s.yaml:9:27: sweep.swarm.users[1]: 10 is there twice"),
    ("{swarm.users: [10, '10']}", "s.yaml:9:27: sweep.swarm.users[1]: 10 is there twice"),
    ("{swarm.users: [10, 10.0]}", "s.yaml:9:27: sweep.swarm.users[1]: 10.0 is there twice"),
    ("{swarm.users: 10}", "s.yaml:9:22: sweep.swarm.users: write a list of values, such as [10, 100]"),
    ("{swarm.users: [10, x]}", "s.yaml:9:27: sweep.swarm.users = x: write a whole number, such as 100"),
    ("{foo: [1]}", "s.yaml:9:9: sweep.foo: unknown key 'foo'; known: name, servers"),
    ("{swarm.foo: [1]}", "s.yaml:9:9: sweep.swarm.foo: unknown key 'foo'"),
    ("{links.5.delay: [1ms]}", "sweep.links.5.delay = 1ms: "),
    (
        "{swarm.workers: [2, 20]}",
        "s.yaml:9:28: sweep.swarm.workers = 20: 20 workers need at least 20 users",
    ),
    (
        "{swarm.workers: [2, 20], swarm.users: [100, 10]}",
        "s.yaml:9:28: sweep.swarm.workers = 20: 20 workers",
    ),
]


@pytest.mark.parametrize(("sweep", "error"), SWEEPS)
def test_a_wrong_sweep_is_refused_where_it_is_written(loading, sweep, error):
    with pytest.raises(UsageError) as caught:
        loading(GOOD + f"sweep: {sweep}\n")
    assert error in str(caught.value)


def test_a_value_that_only_the_whole_sweep_point_allows_is_valid(loading):
    found = loading(GOOD + "sweep: {swarm.workers: [20], swarm.users: [100]}\n")
    assert list(found.scenario.sweep) == ["swarm.workers", "swarm.users"]


@pytest.mark.parametrize("name", ["swarm", "servers", "server", "master", "worker-0"])
def test_a_server_cannot_have_the_name_of_an_endpoint_or_a_node(loading, name):
    with pytest.raises(UsageError, match=f"servers.{name}: {name} cannot name a server: .* are reserved"):
        loading(GOOD.replace("  thread:", f"  {name}:"))


def test_a_wrong_lab_yaml_names_itself(loading):
    Path("lab.yaml").write_text("network-pool: 8.8.0.0/16\n")
    with pytest.raises(UsageError, match=r"lab.yaml:1:15: network-pool: .*not a private network"):
        loading()
    Path("lab.yaml").write_text("runtime: podman\n")
    with pytest.raises(UsageError, match=r"lab.yaml:1:10: runtime: unknown value 'podman'"):
        loading()


def test_a_lab_yaml_with_comments_only_sets_nothing(loading):
    Path("lab.yaml").write_text("# nothing here\n")
    assert loading().settings.runtime == "auto"


@pytest.mark.parametrize("digits", [20, 400, 3000])
def test_a_size_that_no_machine_has_is_one_error(loading, digits):
    with pytest.raises(UsageError, match=r"^s.yaml:4:35: servers.thread.memory: ") as caught:
        loading(GOOD.replace("{model: thread}", "{model: thread, memory: " + "9" * digits + "MiB}"))
    assert len(str(caught.value)) < 200


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-10, 10**6), st.sampled_from(["1s", "5%", "x", "thread", "10/s"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
        ["name", "servers", "swarm", "users", "load", "model", "rate", "links", "delay", "sweep", "handler"]), inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@hypothesis_settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from(["name", "servers", "swarm", "links", "sweep", "repeat", "expect"]), values
    )
)
def test_any_tree_is_a_scenario_or_one_usage_error(tmp_path_factory, data):
    import json

    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(json.dumps(data))
    try:
        load(path, lab_yaml=path.with_name("absent.yaml"))
    except UsageError as error:
        assert "fuzz.yaml" in str(error)
        assert "\n" not in str(error)


OWN = """\
name: own
servers:
  thread: {model: thread}
swarm:
  users: 10
  locustfile: users/mine.py
"""


def test_a_locustfile_brings_its_load_and_lies_in_the_scenarios_folder(loading):
    with pytest.raises(UsageError, match=r"^s.yaml:6:\d+: swarm.locustfile: no file users/mine.py"):
        loading(OWN)
    Path("users").mkdir()
    Path("users/mine.py").write_text("")
    found = loading(OWN)
    assert found.files() == {"users/mine.py": Path("users/mine.py")}
    assert found.scenario.swarm.load.executor == "own-users"
    assert "locustfile" in found.scenario.swarm.model_dump(mode="json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            OWN.replace("users/mine.py", "../mine.py"),
            "must be a Python file in the scenario's folder or below it",
        ),
        (
            OWN.replace("users/mine.py", "/etc/mine.py"),
            "must be a Python file in the scenario's folder or below it",
        ),
        (OWN.replace("users/mine.py", "mine.txt"), "must be a Python file"),
        (
            OWN.replace("users/mine.py", "out.py"),
            "swarm.locustfile: out.py links to a file outside the scenario's folder",
        ),
        (
            OWN + "  load: {executor: constant-users, think-time: 1s}\n",
            "load cannot be set together with locustfile: the locustfile decides it",
        ),
        (GOOD.replace("constant-arrival-rate", "own-users"), "unknown executor 'own-users'"),
    ],
)
def test_a_locustfile_elsewhere_or_a_load_beside_it_is_refused(loading, tmp_path, text, says):
    (tmp_path.parent / "elsewhere.py").write_text("")
    Path("out.py").symlink_to(tmp_path.parent / "elsewhere.py")
    with pytest.raises(UsageError, match=says):
        loading(text)


def test_a_path_may_lead_through_a_list(tmp_path):
    link = "links:\n  - {endpoints: [swarm, servers], delay: 1ms}\n"
    found = resolved(tmp_path, TEXT + link, ("links.0.delay=5ms",)).scenario
    assert [one.delay for one in found.links] == [0.005]
    for path in ("links.1.delay", "links.x.delay"):
        with pytest.raises(UsageError, match="has no"):
            resolved(tmp_path, TEXT + link, (f"{path}=5ms",))
