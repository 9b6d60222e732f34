"""Timed events: what they mean, and what is refused."""

# ruff: noqa: E501  (tables are easier to read in one line a row)

import pytest

from lab.common.errors import UsageError
from lab.scenario.event import link_changes
from tests.support.scenarios import TEXT, resolved

LINK = "links:\n  - {endpoints: [swarm, servers], delay: 20ms, loss: 1%}\n"


def scenario(tmp_path, *events, link=LINK):
    text = TEXT + link + "events:\n" + "".join(f"  - {event}\n" for event in events)
    return resolved(tmp_path, text)


def changes(tmp_path, event):
    found = scenario(tmp_path, event).scenario
    return [(at, to.impairments()[0]) for at, to in link_changes(found.links[0], found.events[0])]


def test_set_merge_and_clear(tmp_path):
    [(at, now)] = changes(tmp_path, "{at: 2s, link: [swarm, servers], set: {delay: 50ms}}")
    assert (at, now.delay_ms, now.loss) == (2, 50, 0)
    [(_, now)] = changes(tmp_path, "{at: 2s, link: [swarm, servers], merge: {delay: 50ms}}")
    assert (now.delay_ms, now.loss) == (50, 0.01)
    [(_, now)] = changes(tmp_path, "{at: 2s, link: [swarm, servers], clear: true}")
    assert now.constant
    assert now.delay_ms == 0


def test_for_brings_the_link_back(tmp_path):
    first, second = changes(tmp_path, "{at: 2s, link: [swarm, servers], merge: {loss: 5%}, for: 1s}")
    assert (first[0], first[1].loss) == (2, 0.05)
    assert (second[0], second[1].loss, second[1].delay_ms) == (3, 0.01, 20)


def test_a_partition_lets_nothing_through(tmp_path):
    cut, healed = changes(tmp_path, "{at: 1s, partition: [swarm, servers], for: 500ms}")
    assert (cut[0], cut[1].loss) == (1, 1.0)
    assert (healed[0], healed[1].loss) == (1.5, 0.01)


def test_a_ramp_goes_in_equal_steps(tmp_path):
    event = "{at: 1s, link: [swarm, servers], ramp: {to: {delay: 120ms}, steps: 5}, for: 5s}"
    steps = changes(tmp_path, event)
    assert [at for at, _ in steps] == pytest.approx([2, 3, 4, 5, 6])
    assert [to.delay_ms for _, to in steps] == pytest.approx([40, 60, 80, 100, 120])
    assert steps[0][1].loss == 0.01


def test_a_ramp_changes_the_loss_and_each_direction_from_its_own_value(tmp_path):
    link = "links:\n  - {endpoints: [swarm, servers], delay: 20ms, loss: 1%, back: {delay: 40ms}}\n"
    event = "{at: 1s, link: [swarm, servers], ramp: {to: {delay: 120ms, loss: 5%}, steps: 4}, for: 4s}"
    found = scenario(tmp_path, event, link=link).scenario
    steps = [to.impairments() for _, to in link_changes(found.links[0], found.events[0])]
    assert [there.delay_ms for there, _ in steps] == pytest.approx([45, 70, 95, 120])
    assert [back.delay_ms for _, back in steps] == pytest.approx([60, 80, 100, 120])
    assert [there.loss for there, _ in steps] == pytest.approx([0.02, 0.03, 0.04, 0.05])
    assert [back.loss for _, back in steps] == pytest.approx([0.02, 0.03, 0.04, 0.05])


def test_a_merge_replaces_another_kind_of_loss(tmp_path):
    link = "links:\n  - {endpoints: [swarm, servers], loss: 1%, loss-correlation: 25%}\n"
    event = "{at: 1s, link: [swarm, servers], merge: {loss: {gemodel: [1%, 10%, 75%, 0%]}}}"
    found = scenario(tmp_path, event, link=link).scenario
    [(_, to)] = link_changes(found.links[0], found.events[0])
    assert to.impairments()[0].loss_gemodel == (0.01, 0.1, 0.75, 0.0)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ("{at: 1s}", "exactly one of set, merge"),
        ("{at: 1s, pause: thread, kill: thread}", "this one has pause, kill"),
        ("{at: 1s, pause: thread}", "pause needs `for`"),
        ("{at: 1s, kill: thread, for: 1s}", "kill cannot be undone"),
        ("{at: 1s, restart: worker-0}", "only a server with a model can be restarted: thread"),
        ("{at: 1s, set: {delay: 5ms}}", "set needs a link"),
        ("{at: 1s, pause: nobody, for: 1s}", "unknown node 'nobody'"),
        (
            "{at: 1s, link: [swarm, thread], clear: true}",
            "unknown link [swarm, thread]; known: [swarm, servers]",
        ),
        ("{at: 9s, pause: thread, for: 2s}", "the event ends after the measured window (10s)"),
        ("{at: 1s, limit: thread}", "limit needs cpus or memory"),
        ("{at: 1s, kill: thread, cpus: 1}", "kill takes no cpus and no memory: they belong to limit"),
        ("{at: 1s, kill: thread, link: [swarm, servers]}", "kill takes no link"),
        (
            "{at: 1s, link: [swarm, servers], merge: {jitter: 30ms}}",
            "events[0].merge.jitter: jitter 30 ms exceeds the delay of 20 ms",
        ),
        (
            "{at: 1s, link: [swarm, servers], ramp: {to: {limit: 9}}, for: 1s}",
            "events[0].ramp.to.limit: limit cannot change in steps: write it with set or merge",
        ),
        (
            "{at: 1s, link: [swarm, servers], ramp: {to: {loss: {gemodel: [1%, 1%, 1%, 1%]}}}, for: 1s}",
            "events[0].ramp.to.loss: a ramp of loss needs a percentage at both ends",
        ),
        ("{at: 1s, link: [swarm, servers], clear: false}", "clear must be true"),
        ("{at: 1, clear: true}", "events[0].at: 1 has no unit"),
        ("{at: 1s, link: [swarm, servers], set: {delay: 1ms, jitter: 2ms}}", "jitter"),
    ],
)
def test_refused_with_the_reason(tmp_path, event, says):
    with pytest.raises(UsageError) as caught:
        scenario(tmp_path, event)
    assert says in str(caught.value)


def test_a_ramp_from_a_profile_is_refused(tmp_path):
    link = "links:\n  - {endpoints: [swarm, servers], profile: lte}\n"
    event = "{at: 1s, link: [swarm, servers], ramp: {to: {delay: 90ms}}, for: 2s}"
    with pytest.raises(
        UsageError, match=r"the ramp of delay has no start: .* from profile lte; write delay at the link"
    ):
        scenario(tmp_path, event, link=link)


@pytest.mark.parametrize(
    ("one", "other", "refused"),
    [
        ("pause: thread, for: 2s", "pause: thread, for: 1s", True),
        ("pause: thread, for: 2s", "pause: epoll_lt, for: 1s", False),
        ("pause: thread, for: 2s", "kill: thread", False),
        ("pause: thread, for: 1s", "pause: thread, for: 1s", False),
        ("limit: thread, cpus: 1, for: 2s", "limit: thread, cpus: 0.5", True),
        ("limit: thread, cpus: 1, for: 2s", "limit: thread, memory: 1GiB", False),
        ("limit: thread, cpus: 1", "limit: thread, cpus: 0.5", False),
        ("partition: [swarm, servers], for: 2s", "link: [swarm, servers], clear: true", True),
        ("link: [swarm, servers], ramp: {to: {delay: 9ms}}, for: 2s", "link: [swarm, servers], clear: true", True),
        ("link: [swarm, servers], merge: {loss: 2%}, for: 2s", "link: [swarm, servers], merge: {delay: 9ms}", True),
        ("link: [swarm, servers], merge: {loss: 2%}", "link: [swarm, servers], merge: {delay: 9ms}", False),
    ],
)  # fmt: skip
def test_an_event_that_the_end_of_another_would_undo_is_refused(tmp_path, one, other, refused):
    events = (f"{{at: 3s, {other}}}", f"{{at: 2s, {one}}}")
    if not refused:
        assert scenario(tmp_path, *events)
        return
    with pytest.raises(UsageError, match=r"events\[0\].at: events\[1\] changes the same \(2s … 4s\)"):
        scenario(tmp_path, *events)
