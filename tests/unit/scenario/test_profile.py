"""Named links: each complete, sourced and possible; a scenario's own words go before it."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from lab.scenario.impairment import Impairment
from lab.scenario.link import LinkSpec
from lab.scenario.profile import PROFILES, Profile, ProfileName


def test_every_name_has_a_profile_with_its_source() -> None:
    assert set(PROFILES) == set(get_args(ProfileName))
    assert all(len(profile.source) > 20 for profile in PROFILES.values())


@pytest.mark.parametrize(
    ("name", "rtt_ms", "up_bit_per_s"),
    [
        ("lan", 0.5, None),
        ("wifi", 2, 15e6),
        ("3g", 300, 768e3),
        ("lte", 70, 12e6),
        ("satellite", 558, None),
        ("transatlantic", 72, None),
    ],
)
def test_a_scenario_names_a_profile(name: str, rtt_ms: float, up_bit_per_s: float | None) -> None:
    there, back = LinkSpec.model_validate({"endpoints": ["swarm", "servers"], "profile": name}).impairments()
    assert there.delay_ms + back.delay_ms == rtt_ms
    assert there.rate_bit_per_s == up_bit_per_s


def test_own_words_go_before_the_profile() -> None:
    document = {"endpoints": ["swarm", "servers"], "profile": "lte", "loss": "1%", "back": {"rate": "50mbit"}}
    there, back = LinkSpec.model_validate(document).impairments(seed=0)
    assert (there.delay_ms, there.rate_bit_per_s, there.loss) == (35, 12e6, 0.01)
    assert (back.delay_ms, back.rate_bit_per_s, back.loss) == (35, 50e6, 0.01)


def test_one_way_may_say_what_is_possible_only_with_the_rest() -> None:
    document = {
        "endpoints": ["swarm", "servers"],
        "profile": "3g",
        "jitter": "20ms",
        "back": {"jitter": "40ms"},
    }
    there, back = LinkSpec.model_validate(document).impairments()
    assert (there.jitter_ms, back.jitter_ms) == (20, 40)
    with pytest.raises(ValueError, match="jitter needs a delay"):
        LinkSpec.model_validate({"endpoints": ["swarm", "servers"], "jitter": "20ms"})


STATE = {"state": ["1%", "20%", "0%", "100%", "0.5%"]}
GEMODEL = {"gemodel": ["1%", "10%", "70%", "0%"]}


@pytest.mark.parametrize(
    ("link", "own", "there"),
    [
        ({"loss": "1%", "loss-correlation": "25%"}, {"loss": STATE}, "loss_state"),
        ({"loss": "1%"}, {"loss": GEMODEL}, "loss_gemodel"),
        ({"loss": STATE}, {"loss": GEMODEL}, "loss_gemodel"),
        ({"loss": GEMODEL}, {"loss": "5%", "loss-correlation": "25%"}, "loss"),
        ({"loss": STATE}, {"loss": "0%"}, None),
    ],
)
def test_the_loss_of_one_direction_replaces_another_kind_of_the_link(
    link: dict[str, Any], own: dict[str, Any], there: str | None
) -> None:
    ends = {"endpoints": ["swarm", "servers"]}
    each = LinkSpec.model_validate({**ends, **link, "there": own}).impairments()
    alone = LinkSpec.model_validate({**ends, **own}).impairments()[0]
    assert each[0] == alone
    assert (there is None) == (each[0].loss_share == 0)
    assert there is None or getattr(each[0], there)
    assert each[1] == LinkSpec.model_validate({**ends, **link}).impairments()[1]


def test_the_loss_of_one_direction_keeps_the_correlation_of_its_kind() -> None:
    link = {
        "endpoints": ["swarm", "servers"],
        "loss": "1%",
        "loss-correlation": "25%",
        "back": {"loss": "5%"},
    }
    back = LinkSpec.model_validate(link).impairments()[1]
    assert (back.loss, back.loss_correlation) == (0.05, 0.25)


def test_the_loss_of_a_link_replaces_another_kind_of_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    lossy = Impairment(delay_ms=5, loss_gemodel=(0.01, 0.1, 0.7, 0.0))
    monkeypatch.setattr("lab.scenario.link.PROFILES", {"lan": Profile(lossy, lossy, "none")})
    link = {"endpoints": ["swarm", "servers"], "profile": "lan"}
    assert LinkSpec.model_validate(link).impairments()[0].loss_gemodel
    there, back = LinkSpec.model_validate({**link, "back": {"loss": "1%"}}).impairments()
    assert there.loss_gemodel
    assert (back.delay_ms, back.loss, back.loss_gemodel) == (5, 0.01, None)


@pytest.mark.parametrize("address", ["198.18.1.7", "198.18.1.0/24", "fd00::1"])
def test_an_endpoint_is_a_name_as_every_trial_has_new_addresses(address: str) -> None:
    with pytest.raises(ValueError, match=f"{address} is an address"):
        LinkSpec.model_validate({"endpoints": ["swarm", address], "delay": "1ms"})
