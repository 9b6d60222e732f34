"""`lab net set`: words become an impairment, or one error."""

from __future__ import annotations

import pytest

from lab.common.errors import UsageError
from lab.scenario.impairment import Impairment
from lab.verbs.net import _impairment


@pytest.mark.parametrize(
    ("words", "impairment"),
    [
        (["delay=50ms", "jitter=5ms", "loss=1%"], Impairment(delay_ms=50, jitter_ms=5, loss=0.01)),
        (["delay=5ms", "reorder=1%", "gap=5"], Impairment(delay_ms=5, reorder=0.01, reorder_gap=5)),
        (["limit=500"], Impairment(limit_packets=500)),
        (["limit=auto", "rate=10mbit"], Impairment(rate_bit_per_s=1e7)),
        (["loss={gemodel: [1%, 10%, 75%, 0%]}"], Impairment(loss_gemodel=(0.01, 0.1, 0.75, 0.0))),
    ],
)
def test_words_become_an_impairment(words: list[str], impairment: Impairment) -> None:
    assert _impairment(words) == impairment


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["jitter=5ms"], "net set: jitter needs a delay, of at least 5 ms here"),
        (["delay=1ms", "jitter=5ms"], "net set: jitter: jitter 5 ms exceeds the delay of 1 ms"),
        (["gap=5"], "net set: gap needs reorder"),
        (["gap=5.5"], "net set: gap: write a whole number, such as 5"),
        (["limit=many"], "net set: limit: 'many': write auto, or a number of packets above 0"),
        (["limit=0"], "net set: limit: 0: write auto, or a number of packets above 0"),
        (["delay=5"], "net set: delay: 5 has no unit"),
        (["delay=1:30"], "net set: delay: YAML readers disagree about 1:30"),
        (["delay="], "net set: write "),
        (["delay"], "net set: write "),
        (["delay=1ms", "delay=2ms"], "net set: write "),
        ([], "net set: write "),
        (["dely=5ms"], "net set: dely: unknown key 'dely'; did you mean delay?"),
        (["distribution=gauss"], "net set: distribution: unknown value 'gauss'; known: uniform"),
        (["loss=["], "net set: loss:1:2: not YAML"),
    ],
)
def test_a_wrong_word_is_one_error(words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        _impairment(words)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
