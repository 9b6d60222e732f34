"""The `lab` command: its verbs by section, error messages, exit codes."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from lab.common.errors import Exit, LabError
from lab.verbs import compare, host, net, results, run, scenarios, up
from lab.verbs.shared import error_text
from lab.verbs.streams import ReaderGone, print_err

SECTIONS: Mapping[str, Mapping[str, Any]] = {
    "Measure": {"run": run.run, "rerun": run.rerun, "plan": run.plan},
    "Results": {
        "report": results.report,
        "compare": compare.compare,
        "runs": results.runs,
        "bundle": results.bundle,
        "merge": results.merge,
        "clean": results.clean,
    },
    "Scenarios": {
        "list": scenarios.list_scenarios,
        "show": scenarios.show,
        "validate": scenarios.validate,
        "models": scenarios.models,
        "graph": scenarios.graph,
        "compose": scenarios.compose,
        "matrix": scenarios.matrix,
        "schema": scenarios.schema,
    },
    "Interactive": {"up": up.up, "ps": up.ps, "logs": up.logs, "net": net},
    "This host": {"doctor": host.doctor, "images": host.images, "down": host.down, "version": host.version},
}


class VerbCommand(TyperCommand):
    """A help page that names arguments like a manual page (RUN, [NODE]), without Python's types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """See click's Command."""
        pieces = [piece.removesuffix("...") for piece in super().collect_usage_pieces(ctx)]
        return [re.sub(r"^\{(.*)\}$|^\[(\[.*\])\]$", r"\1\2", piece) for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """See click's Command."""
        records: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                name, text = record
                records[param.param_type_name].append((re.sub(r" <(str|list\[str\]|path)>$", "", name), text))
        for kind, rows in records.items():
            if rows:
                with formatter.section(f"{kind.capitalize()}s"):
                    formatter.write_dl(rows)


class SectionedGroup(TyperGroup):
    """A help page that lists the verbs by section."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """See click's Group."""
        width = max(len(name) for verbs in SECTIONS.values() for name in verbs)
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                rows = [(f"{name:{width}}", self.commands[name].get_short_help_str(200)) for name in verbs]
                formatter.write_dl(rows)


app = typer.Typer(
    cls=SectionedGroup,
    help="What does each Unix I/O model really cost, at 10 connections and at 100,000?",
    epilog="Start with `lab doctor`, then `lab run smoke`. `lab COMMAND --help` has examples.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _net() -> typer.Typer:
    """Return the commands below `net`."""
    group = typer.Typer(
        help="""Show and change the links of a run that is up; start its load.

        \b
        Examples:
          lab net show up-smoke-3f9a
          lab net set up-smoke-3f9a server delay=50ms jitter=5ms loss=1%
        """,
        rich_markup_mode=None,
    )
    for name, function in net.VERBS.items():
        group.command(name, cls=VerbCommand)(function)
    return group


for _verbs in SECTIONS.values():
    for _name, _function in _verbs.items():
        if _function is net:
            app.add_typer(_net(), name=_name)
        else:
            app.command(_name, cls=VerbCommand)(_function)


def main() -> None:
    """Run the command; print one clear line per error and exit with its code."""
    try:
        sys.exit(app(prog_name="lab", standalone_mode=False))
    except LabError as error:
        print_err(f"lab: {error_text(error)}")
        sys.exit(error.exit_code)
    except ReaderGone:
        sys.exit(Exit.READER_GONE)
    except typer.Abort:
        sys.exit(Exit.INTERRUPTED)
    except KeyboardInterrupt:
        print_err("lab: interrupted")
        sys.exit(Exit.INTERRUPTED)
    except OSError as error:
        print_err(f"lab: {error.filename or 'system'}: {error.strerror or error}")
        sys.exit(Exit.INTERNAL)
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("click", "typer"):
            raise
        error.show()  # type: ignore[attr-defined]
        sys.exit(Exit.USAGE)


if __name__ == "__main__":
    main()
