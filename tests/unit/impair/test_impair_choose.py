"""Which backend is taken, and what is said when none can."""

from __future__ import annotations

import pytest

from lab.common.errors import HostCannot, UsageError
from lab.impair import choose
from lab.impair.answers import Capabilities
from lab.scenario.impairment import Impairment

ALL = Capabilities(netem=True, tbf=True, htb=True, nfqueue=True, raw_sockets=True)
WHY = {"netem": "this kernel has no sch_netem", "nfqueue": "no nfnetlink_queue", "raw_sockets": "no NET_RAW"}
NO_NETEM = ALL.model_copy(update={"netem": False, "why": WHY})
PLAIN, DOUBLED = [Impairment(delay_ms=5)], [Impairment(delay_ms=5, duplicate=0.1)]


def test_netem_where_the_kernel_has_it_else_the_delay_line() -> None:
    assert choose("auto", PLAIN, ALL, 1).name == "netem"
    assert choose("auto", PLAIN, NO_NETEM, 1).name == "delayline"
    assert choose("delayline", PLAIN, ALL, 1).name == "delayline"
    assert choose("none", PLAIN, NO_NETEM, 1).name == "none"


def test_duplicates_to_several_peers_need_the_delay_line() -> None:
    assert choose("auto", DOUBLED, ALL, 1).name == "netem"
    assert choose("auto", DOUBLED, ALL, 2).name == "delayline"
    with pytest.raises(HostCannot, match="several netems"):
        choose("netem", DOUBLED, ALL, 2)


def test_every_reason_is_told() -> None:
    nothing = NO_NETEM.model_copy(update={"nfqueue": False})
    with pytest.raises(
        HostCannot, match="netem: this kernel has no sch_netem; delayline: no nfnetlink_queue"
    ):
        choose("auto", PLAIN, nothing, 1)
    mute = NO_NETEM.model_copy(update={"raw_sockets": False})
    with pytest.raises(HostCannot, match="no NET_RAW"):
        choose("auto", DOUBLED, mute, 1)
    assert choose("auto", PLAIN, mute, 1).name == "delayline"


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match="known are auto, netem, delayline, none"):
        choose("tc", PLAIN, ALL, 1)


def test_a_delay_below_what_a_backend_can_do_is_refused_or_done_by_another() -> None:
    short, none_at_all = [Impairment(delay_ms=0.2)], [Impairment(loss=0.1)]
    assert choose("auto", short, ALL, 1).name == "netem"
    with pytest.raises(HostCannot, match="delayline: a delay is below the least that it can do, 500us"):
        choose("auto", short, NO_NETEM, 1)
    with pytest.raises(HostCannot, match="netem: a delay is below the least that it can do, 1us"):
        choose("netem", [Impairment(delay_ms=0.0005)], ALL, 1)
    assert choose("delayline", none_at_all, ALL, 1).name == "delayline"
