"""Errors that end a swarm node, with the exit codes of the node contract."""

from __future__ import annotations


class SwarmError(Exception):
    """The node cannot go on; the message says why. Exit code 1."""

    exit_code = 1


class SettingsError(SwarmError):
    """A setting is wrong; the message names it. Exit code 2."""

    exit_code = 2


class HostError(SwarmError):
    """This kernel or container lacks something; the message says what. Exit code 3."""

    exit_code = 3
