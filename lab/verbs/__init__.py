"""The verbs of the `lab` command, a file per section; `lab/cli.py` names and groups them.

A verb is a plain function: typer reads its options from the signature and its help from the docstring. It
returns the exit code. Heavy modules (pydantic, rich, docker, numpy) are imported inside the verb that needs
them, so that `lab --help` and shell completion answer at once.
"""
