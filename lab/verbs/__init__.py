"""The verbs of the `lab` command, a file per purpose; `lab/cli.py` names and groups them.

A verb is a plain function: typer reads its signature, its docstring is its help, its return value the exit
code. Whatever is heavy (pydantic, rich, docker, numpy) is imported inside the verb that needs it, so that
`lab --help` and shell completion answer at once.
"""
