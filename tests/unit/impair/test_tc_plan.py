"""`lab plan` prints the links as commands: the ones that a run would give to the kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.common.errors import UsageError
from lab.impair.answers import Capabilities
from lab.impair.tc_plan import as_text, tc_plans
from lab.plan.plan import Plan, expand
from tests.support.scenarios import TEXT, resolved

NETEM = Capabilities(netem=True, tbf=True, htb=True, nfqueue=True, raw_sockets=True)
QUEUE = NETEM.model_copy(update={"netem": False, "why": {"netem": "this kernel has no sch_netem"}})
NOTHING = QUEUE.model_copy(
    update={"nfqueue": False, "why": {"netem": "no sch_netem", "nfqueue": "no nfnetlink_queue"}}
)
LINK = "links:\n  - {endpoints: [swarm, servers], there: {delay: 20ms}, back: {delay: 5ms, loss: 1%}}\n"
TO_ONE = "  - {endpoints: [worker-1, thread], delay: 3ms}\n"


def plan(folder: Path, links: str) -> Plan:
    return expand(resolved(folder, TEXT + links))


def test_every_egress_has_its_commands(tmp_path: Path) -> None:
    [made] = tc_plans(plan(tmp_path, LINK), NETEM)
    assert sorted(made.trials) == ["epoll_lt/1", "thread/1"]
    assert (made.backend, made.reason) == ("netem", None)
    [there] = made.commands["worker-0", "eth1"]
    assert " ".join(there) == "tc qdisc replace dev eth1 root handle 1: netem delay 20ms limit 30000"
    assert made.commands["worker-1", "eth1"] == [there]
    *_, back = made.commands["server", "eth0"]
    assert " ".join(back).endswith("netem delay 5ms loss random 1% limit 7500")


def test_trials_whose_links_differ_are_told_apart_and_addresses_have_names(tmp_path: Path) -> None:
    found = tc_plans(plan(tmp_path, "links:\n" + TO_ONE), NETEM)
    [made] = found
    assert made.trials == ("thread/1",)
    assert set(made.commands) == {("worker-1", "eth1"), ("server", "eth0")}
    to_worker = " ".join(made.commands["server", "eth0"][-1])
    assert to_worker.endswith("u32 match ip dst $worker_1/32 flowid 1:10")
    text = as_text(found, 2)
    assert "  thread/1:" in text
    assert "$worker_0 is the address of worker-0" in text
    json.dumps(made.to_json())


def test_without_links_nothing_is_said(tmp_path: Path) -> None:
    assert as_text(tc_plans(plan(tmp_path, ""), NETEM), 2) == ""


def test_links_that_contradict_each_other_are_refused_already_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="worker-1 and thread have a link already"):
        tc_plans(plan(tmp_path, LINK + TO_ONE), NETEM)


@pytest.mark.parametrize(
    ("can", "backend", "says"),
    [
        (NETEM, "netem", "by the kernel's netem"),
        (QUEUE, "delayline", "uses the delay line, in user space, instead: this kernel has no sch_netem"),
        (NOTHING, None, "cannot be applied here: netem: no sch_netem; delayline: no nfnetlink_queue"),
        (None, None, "unknown: no unshare(1)"),
    ],
)
def test_what_this_kernel_would_do_is_said(
    tmp_path: Path, can: Capabilities | None, backend: str | None, says: str
) -> None:
    found = tc_plans(plan(tmp_path, LINK), can, "no unshare(1)")
    assert found[0].backend == backend
    text = as_text(found, 2)
    assert says in text
    assert "      tc qdisc replace dev eth1 root handle 1: netem delay 20ms limit 30000\n" in text
