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
    assert "swarm.spawn-rate" in found.origin(("swarm", "spawn-rate"))
    assert found.origin(("swarm", "workers")) == "lab.yaml:4"
    assert found.origin(("servers", "epoll_lt", "backlog")) == "s.yaml:5"
    assert found.origin(("servers", "thread", "backlog")) == "lab.yaml:3"
    assert found.origin(("swarm", "drain")) == "built-in"


def test_flags_win_over_the_environment(loading):
    found = loading(overrides=["swarm.users=20"], environment={"LAB_SET_SWARM__USERS": "30"})
    assert found.scenario.swarm.users == 20
    assert loading(runtime="local", environment={"LAB_RUNTIME": "docker"}).settings.runtime == "local"
    assert loading(environment={"LAB_RUNTIME": "docker"}).settings.runtime == "docker"


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
        ("users: 10", "users: 10\n  wire: datagram", "server thread: thread supports tcp, but wire datagram needs udp"),
        ("name: good", "name: good\nhandler: slep", "s.yaml:3:10: handler: unknown handler 'slep'; did you mean sleep"),
        ("name: good", "name: good\nhandler: {sleep: 10}", "no unit"),
        ("name: good", "name: good\nthresholds: {thread: {latency: ['p(99)<100']}}", "thresholds.thread.latency: 'p(99)<100': 100 has no unit"),
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
        ("swarm.users=many", "--set swarm.users: swarm.users: "),
        ("swarm.usrs=1", "unknown key 'usrs'; did you mean users"),
        ("swarm.users.x=1", "swarm.users: 10 has no 'x'"),
        ("servers.thread.model=sel", "--set servers.thread.model: servers.thread.model: unknown model"),
    ],
)
def test_a_wrong_override_names_itself(loading, override, says):
    with pytest.raises(UsageError) as caught:
        loading(overrides=[override])
    assert says in str(caught.value)


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
