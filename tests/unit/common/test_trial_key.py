"""The name of a trial: one text for one trial, and back."""

import pytest

from lab.common.trial_key import TrialKey

KEYS = [
    (TrialKey.of("epoll_lt", {}, 3), "epoll_lt/3"),
    (TrialKey.of("thread", {"swarm.users": 10, "servers.thread.cpus": 0.5}, 1), "thread,users=10,cpus=0.5/1"),
    (TrialKey.of("a-b.base", {"swarm.load.rate": "2000/s"}, 12), "a-b.base,rate=2000_per_s/12"),
    (TrialKey.of("s", {"handler": {"file": "64KiB"}}, 1), "s,handler={'file':'64KiB'}/1"),
]


@pytest.mark.parametrize(("key", "text"), KEYS, ids=[text for _, text in KEYS])
def test_an_id_and_a_folder_lead_back_to_the_key(key, text):
    assert key.id == text
    assert TrialKey.parse(key.id) == TrialKey.of_folder(key.folder) == key
    assert "/" not in key.folder
    assert text.startswith(key.group)


@pytest.mark.parametrize("text", ["", "thread", "/1", "thread/", "thread/one", "thread/-1", ",users=1/2"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ValueError, match="not the id of a trial"):
        TrialKey.parse(text)


def test_trials_are_in_order_of_server_point_and_number():
    ids = ["b/1", "a/10", "a/9", "a,users=1/1"]
    assert [key.id for key in sorted(map(TrialKey.parse, ids))] == ["a/9", "a/10", "a,users=1/1", "b/1"]
