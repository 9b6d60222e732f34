"""Locust's own page, on the master, behind a password.

The orchestrator forwards a loopback port to it. The load runs by the scenario whatever is pressed on the
page; a test that is stopped there has fewer users than asked for and shows it.
"""

from __future__ import annotations

import hmac
from typing import Any

from flask import Response, request

from .settings import Ui

REALM = {"WWW-Authenticate": 'Basic realm="I/O Model Lab"'}


def serve(environment: Any, ui: Ui) -> None:
    """Start the page; any user name will do, the password must be right (RFC 7617)."""
    page = environment.create_web_ui(host=ui.host, port=ui.port, delayed_start=True)

    def guard() -> Response | None:
        given = request.authorization
        password = (given.password or "") if given is not None else ""
        if hmac.compare_digest(password.encode(), ui.password.encode()):
            return None
        return Response("the password, please\n", 401, REALM)

    page.app.before_request(guard)
    page.start()
