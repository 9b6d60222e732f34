"""Locust's web page on the master, with a password.

The orchestrator forwards a loopback port to it. Buttons on the page do not change the load's executor; a
test that is stopped there has fewer users than the scenario asks for, and its result shows it.
"""

from __future__ import annotations

import hmac
from typing import Any

from flask import Response, request

from .settings import UiSettings

REALM = {"WWW-Authenticate": 'Basic realm="I/O Model Lab"'}


def serve(environment: Any, ui: UiSettings) -> None:
    """Start the page with basic authentication (RFC 7617): any user name, the given password."""
    page = environment.create_web_ui(host=ui.host, port=ui.port, delayed_start=True)

    def check_password() -> Response | None:
        given = request.authorization
        password = (given.password or "") if given is not None else ""
        if hmac.compare_digest(password.encode(), ui.password.encode()):
            return None
        return Response("password required\n", 401, REALM)

    page.app.before_request(check_password)
    page.start()
