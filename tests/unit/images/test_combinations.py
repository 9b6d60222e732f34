"""Every model × wire × handler that a scenario may have is one that the server takes: none is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
from iomodels import handlers, manifest, settings
from wire import NAMES as WIRES

from lab.common.errors import UsageError
from lab.scenario.handler import HANDLERS
from lab.scenario.resolve import load

SCENARIO = """\
# Does it fit?
name: fits
servers: {{one: {{model: {model}}}}}
handler: {handler}
swarm: {{wire: {wire}, users: 2, workers: 1, load: {{executor: constant-arrival-rate, rate: 10/s}}}}
"""
MODELS = manifest.load()


def takes(model: str, wire: str, handler: str) -> bool:
    """Whether the server starts with these settings."""
    given = settings.parser().parse_args([model, "--wire", wire, "--handler", handler])
    try:
        handlers.load(settings.resolve(given, MODELS).handler)
    except (settings.SettingsError, ValueError):
        return False
    return True


@pytest.mark.parametrize("model", MODELS)
def test_what_a_scenario_may_have_the_server_takes(model: str, tmp_path: Path) -> None:
    path, accepted = tmp_path / "fits.yaml", 0
    for wire in WIRES:
        for name, argument in HANDLERS.items():
            written = name if argument is None else f"{{{name}: {argument}}}"
            path.write_text(SCENARIO.format(model=model, wire=wire, handler=written))
            try:
                found = load(path, lab_yaml=tmp_path / "lab.yaml").scenario
            except UsageError:
                continue
            accepted += 1
            assert takes(model, wire, found.handler), f"{model} {wire} {found.handler}"
    assert accepted
