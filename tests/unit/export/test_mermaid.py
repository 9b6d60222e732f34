"""The mermaid diagram: every node, network and link of the first trial, with names that mermaid takes."""

from __future__ import annotations

import re

from lab.export import mermaid
from lab.plan import plan
from tests.support.scenarios import TEXT, resolved

LINKS = """\
links:
  - {endpoints: [worker-1, servers], delay: 20ms, there: {loss: 1%}}
  - {endpoints: [worker-0, end], loss: {gemodel: [1%, 10%, 70%, 0%]}}
"""


def drawn(tmp_path, text=TEXT):
    scenario = resolved(tmp_path, text)
    return mermaid.mermaid(scenario, plan.expand(scenario))


def test_every_node_is_drawn_once(tmp_path):
    text = drawn(tmp_path)
    assert text.startswith("flowchart LR\n")
    for label in (
        'master["master"]',
        'worker0["worker-0"]',
        'worker1["worker-1"]',
        '["thread"]',
        '["epoll_lt"]',
    ):
        assert text.count(label) == 1
    assert text.count("subgraph") == text.splitlines().count("  end") == 2
    assert "10 users, open: 100 arrivals/s, wire http1" in text


def test_links_stand_on_the_edge_as_they_were_written(tmp_path):
    text = drawn(tmp_path, TEXT.replace("thread: {", "end: {") + LINKS)
    edge = next(line for line in text.splitlines() if line.startswith("  swarm =="))
    assert "worker-1 - servers: delay 20ms, there (loss 1%)" in edge
    assert "<br>worker-0 - end: loss (gemodel 1% 10% 70% 0%)" in edge
    assert '-- "data: clean link" ---' in drawn(tmp_path)


def test_a_server_may_be_called_like_a_keyword_or_with_dots(tmp_path):
    text = drawn(tmp_path, TEXT.replace("thread: {", "end: {").replace("epoll_lt: {", "e.1-x: {"))
    identifiers = re.findall(r'^    (\w+)\["', text, re.MULTILINE)
    assert len(set(identifiers)) == len(identifiers) == 5
    assert "end" not in identifiers


def test_an_instance_of_a_model_names_it_and_a_closed_load_its_think_time(tmp_path):
    text = TEXT.replace("thread: {model: thread}", "four: {model: epoll_lt, workers: 4}")
    text = text.replace(
        "{executor: constant-arrival-rate, rate: 100/s}", "{executor: constant-users, think-time: 500ms}"
    )
    assert '["four: epoll_lt ×4"]' in drawn(tmp_path, text)
    assert "think time 500ms" in drawn(tmp_path, text)
