"""The command line: help that is fast and whole, errors that say what would be right, names completed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import NamedTuple, get_args

import pytest

from lab import cli
from lab.common.errors import Exit, worst
from lab.common.paths import ROOT
from lab.run.open_runtime import OPEN
from lab.scenario.resolve import RuntimeName
from lab.verbs import completion
from tests.support.runfolders import make_run

VERBS = [name for section in cli.SECTIONS.values() for name in section]
HEAVY = ("pydantic", "numpy", "scipy", "docker", "rich", "yaml", "jinja2", "hdrh", "requests")
TRY = "import sys; sys.argv = ['lab', *sys.argv[1:]]; from lab.cli import main; main()"


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


@pytest.fixture
def lab(monkeypatch, capsys):
    """Run the command in this process, with nothing of ours or a CI's in its environment."""
    monkeypatch.chdir(ROOT)
    for name in [n for n in os.environ if n.startswith(("LAB_", "GITHUB_", "GITLAB_"))]:
        monkeypatch.delenv(name)

    def run(*arguments, code=0, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        done = Done(*capsys.readouterr())
        assert (ended.value.code or 0) == code, done.stdout + done.stderr
        return done

    return run


def lab_process(**environment):
    """Run `lab` as its own process: completion goes by the program's name."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LAB_")}
    done = subprocess.run(
        [sys.executable, "-c", TRY],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=kept | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_help_names_every_verb_by_purpose_and_cuts_none_short(lab):
    text = lab("--help", COLUMNS="80").stdout
    for section, verbs in cli.SECTIONS.items():
        assert f"\n{section}:\n" in text
        for verb in verbs:
            assert f"\n  {verb} " in text
    assert "..." not in text.replace("[ARGS]...", "")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("verb", "usage"),
    [
        ("run", "SCENARIO"), ("report", "[RUN]"), ("merge", "RUN…"), ("compare", "BASE HEAD…"),
        ("net set", "RUN NODE WORD=VALUE…"), ("net show", "RUN [NODE]"), ("compose", "[SCENARIO]"),
        ("version", ""),
    ],
)  # fmt: skip
def test_usage_is_written_as_in_manual_pages(lab, verb, usage):
    text = lab(*verb.split(), "--help").stdout
    assert text.splitlines()[0] == f"Usage: lab {verb} [OPTIONS] {usage}".rstrip()
    assert "<str>" not in text
    assert "list[" not in text


def test_no_verb_is_missing_from_a_section():
    asked = """run rerun plan report compare runs bundle merge clean list show validate models graph compose
        matrix schema up ps logs net doctor images down version"""
    assert set(VERBS) == set(asked.split())
    assert len(VERBS) == len(set(VERBS))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.app([verb, "--help"], standalone_mode=False) == 0
    text = capsys.readouterr().out
    assert "Usage: " in text
    assert "[default: (" not in text, "a default is a value"
    if verb not in ("version", "runs", "list", "models"):
        assert "Example" in text, "show how it is used"
        assert f"  lab {verb}" in text


def test_help_imports_nothing_heavy():
    check = f"import sys\nheavy = {HEAVY!r}\n" + (
        "sys.argv = ['lab', '--help']\nfrom lab import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print(*[name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert "Usage: " in done.stdout
    assert done.stderr.strip() == ""


WRONG = [
    (["rnu"], "Did you mean 'run'"),
    (["run", "smoke", "--serve", "x"], "--server"),
    (["run", "smoek"], "did you mean smoke"),
    (["run", "smoke", "--set", "swarm.user=3"], "did you mean users"),
    (["run", "absent.yaml"], "absent.yaml: no such file"),
    (["plan", "smoke", "--server", "nginx"], "blocking, thread, epoll_lt"),
    (["report", "--results", "absent"], "no runs in absent"),
    (["schema", "scenarios"], "scenario, settings, summary"),
    (["matrix", "smoke", "--format", "jenkins"], "github, gitlab, json"),
    (["compose"], "name a scenario"),
    (["down"], "name a run"),
    (["merge", "latest", "--results", "absent"], "no runs in absent"),
    (["clean", "--keep", "0"], "--keep"),
    (["net"], "Missing command"),
    (["net", "shwo", "r"], "Did you mean 'show'"),
    (["net", "set", "r", "server"], "WORD=VALUE"),
    (["compare", "latest"], "a base and at least one head"),
    (["compare", "latest", "latest~1", "--metric", "cpu"], "cpu_us_per_request"),
    (["compare", "latest", "latest~1", "--detect", "20"], "no unit"),
    (["compare", "latest", "latest~1", "--results", "absent"], "no runs in absent"),
    (["compare", "base", "--within", "latest", "--results", "absent"], "no runs in absent"),
    (["compare", "--ab", "HEAD", "smoke"], "and a scenario"),
    (["compare", "--ab", "a", "b", "smoke", "--within", "latest"], "give one of them"),
    (["compare", "a", "b", "--pairs", "10", "--set", "seed=1"], "--pairs, --set: only with --ab"),
    (["compare", "a", "b", "--trusted"], "--trusted: only with --ab"),
    (["compare", "a", "b", "--no-calibration"], "--no-calibration: only with --ab"),
    (["compare", "a", "b", "--repository", "."], "--repository: only with --ab"),
    (["compose", "--all", "c10k"], "no SCENARIO"),
    (["compose", "--all", "--set", "seed=1"], "no SCENARIO, -o or --set"),
    (["run", "absent", "--ci", "foo"], "--ci foo: choose one of auto, github, gitlab, none"),
    (["rerun", "absent", "--ci", "foo"], "--ci foo"),
    (["report", "absent", "--ci", "foo"], "--ci foo"),
    (["merge", "absent", "absent", "--ci", "foo"], "--ci foo"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_a_wrong_command_line_says_what_would_be_right(lab, arguments, says):
    done = lab(*arguments, code=Exit.USAGE)
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_json_is_all_that_stdout_carries(lab, tmp_path):
    run = make_run(tmp_path)
    assert json.loads(lab("runs", "--results", tmp_path, "--json").stdout) == [
        {"run": run.name, "verdict": "UNKNOWN", "servers": []}
    ]
    assert json.loads(lab("list", "--json").stdout)["smoke"].endswith("?")
    assert "epoll_lt" in json.loads(lab("models", "--json").stdout)
    assert json.loads(lab("plan", "smoke", "--json").stdout)["scenario"] == "smoke"
    assert json.loads(lab("show", "smoke", "--json").stdout)["name"] == "smoke"
    assert json.loads(lab("validate", "smoke", "--json").stdout) == [
        {"scenario": "smoke", "valid": True, "error": None}
    ]


def test_every_wrong_scenario_is_told_and_the_right_ones_too(lab, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("name: [")
    asked = [tmp_path / "one.yaml", tmp_path / "two.yaml", "smoke"]
    done = lab("validate", *asked, code=Exit.USAGE)
    assert re.search(
        r"lab: \S*one.yaml:1.*\n(.*\n)*lab: \S*two.yaml:1.*\n(.*\n)*.*smoke.yaml: valid", done.stderr
    )
    rows = json.loads(lab("validate", "--json", *asked, code=Exit.USAGE).stdout)
    assert [row["valid"] for row in rows] == [False, False, True]


def test_values_are_shown_as_they_were_written_with_where_that_was(lab):
    text = lab("show", "c10k", "--set", "swarm.drain=7s").stdout
    for line in (
        r"swarm\.load\.rate: 2000/s +# scenarios/c10k\.yaml:\d+",
        r"swarm\.drain: 7s +# --set swarm\.drain",
        r"servers\.select\.backlog: 4096 +# lab\.yaml:\d+",
        r"links: \[\{endpoints: \[swarm, servers\], delay: 20ms\}\] +# scenarios/c10k\.yaml:\d+",
        r"question: What .*\? +# its first comment",
    ):
        assert re.search(line, text), line


def test_a_torn_summary_is_told_and_breaks_nothing(lab, tmp_path):
    run = make_run(tmp_path)
    (run / "summary.json").write_text('{"verdict": "PA')
    assert lab("runs", "--results", tmp_path).stdout.split() == ["UNREADABLE", run.name]


def test_no_colour_reaches_a_pipe_and_none_where_it_is_unwanted(lab, tmp_path):
    for text in (
        lab("runs", "--results", tmp_path).stderr,
        lab("models", NO_COLOR="1", FORCE_COLOR="").stdout,
    ):
        assert "\x1b[" not in text


def test_clean_tells_what_it_would_remove_and_removes_it(lab, tmp_path):
    for _ in range(3):
        make_run(tmp_path)
    would = lab("clean", "--results", tmp_path, "--keep", "1", "--dry-run").stdout
    assert would.count("would remove") == 2
    assert len(list(tmp_path.glob("*/manifest.json"))) == 3
    assert lab("clean", "--results", tmp_path, "--keep", "1").stdout == would.replace(
        "would remove", "removed"
    )
    assert len(list(tmp_path.glob("*/manifest.json"))) == 1


def test_a_bundle_can_be_reported_from_by_another_team(lab, tmp_path):
    run = make_run(tmp_path / "here")
    mine = lab("report", run, code=Exit.NO_MEASUREMENT)
    lab("bundle", run, "-o", tmp_path / "run.tar.gz")
    theirs = lab("report", tmp_path / "run.tar.gz", "--results", tmp_path / "there", code=Exit.NO_MEASUREMENT)
    assert theirs.stdout == mine.stdout
    for name in ("summary.json", "report.md", "report.html", "junit.xml"):
        assert (tmp_path / "there" / run.name / name).read_bytes() == (run / name).read_bytes()


def test_github_is_told_by_step_summary_and_annotations(lab, tmp_path):
    run = make_run(tmp_path / "results")
    told = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    done = lab("report", run, "--json", code=Exit.NO_MEASUREMENT, **told)
    assert json.loads(done.stdout)["run"] == run.name
    assert "\n::" in f"\n{done.stderr}"
    assert "small" in (tmp_path / "summary.md").read_text()
    (tmp_path / "summary.md").unlink()
    assert "::" not in lab("report", run, "--ci", "none", code=Exit.NO_MEASUREMENT, **told).stderr
    assert not (tmp_path / "summary.md").exists()


def test_logs_of_a_stored_run(lab, tmp_path):
    run = make_run(tmp_path)
    listed = lab("logs", run).stdout.splitlines()
    assert listed == ["epoll_lt-1 server", "thread-1 server"]
    assert lab("logs", run, "server", "--trial", "thread/1").stdout == f"thread/1 of {run.name}\n"
    assert "--trial" in lab("logs", run, "server", code=Exit.USAGE).stderr
    assert "no such log" in lab("logs", run, "worker-9", code=Exit.USAGE).stderr


def test_a_folder_of_scenarios_is_validated_one_by_one(lab, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text((ROOT / "scenarios/smoke.yaml").read_text())
    assert lab("validate", tmp_path).stderr.count(": valid") == 2
    (tmp_path / "two.yaml").write_text("name: two\n")
    assert "two.yaml:1:1" in lab("validate", tmp_path, code=Exit.USAGE).stderr


def test_of_several_exit_codes_the_first_of_the_table_counts():
    assert worst([0, 99, 5, 4]) == 4
    assert worst([0, 99, 5]) == 5
    assert worst([0, 99]) == 99
    assert worst([4, 130, 3]) == 130
    assert worst([4, 3]) == 3
    assert worst([0, 0]) == 0
    assert worst([]) == 0
    assert worst([0, 77]) == 1  # what is in no table is an error of the lab itself


def completed(words, **environment):
    at = str(len(words.split(" ")) - 1)
    return lab_process(_LAB_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=at, **environment).split()


def test_bash_completes_verbs_scenarios_servers_and_runs(tmp_path):
    assert completed("lab doc") == ["doctor"]
    assert "smoke" in completed("lab run sm")
    assert completed("lab run smoke --server bl") == ["blocking"]
    run = make_run(tmp_path)
    assert completed("lab report ", LAB_RESULTS=str(tmp_path)) == ["latest", run.name]
    assert completed("lab run smoke --runtime l") == ["local"]


def test_the_runtimes_that_are_completed_are_those_that_a_run_opens():
    assert set(completion.runtimes("")) == set(get_args(RuntimeName)) == set(OPEN)


def test_servers_are_read_off_a_scenario_without_a_parser():
    text = (
        "name: x\nservers:\n  # a comment\n  a.b: {model: thread}\n  c-d:\n    model: poll\nswarm:\n  u: 3\n"
    )
    assert completion.servers_in(text) == ["a.b", "c-d"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed(shell):
    assert "_LAB_COMPLETE" in lab_process(_LAB_COMPLETE=f"source_{shell}")


@pytest.mark.parametrize("arguments", [["models"], ["report"]])
def test_a_reader_that_goes_away_ends_the_command_as_it_ends_other_tools(arguments, tmp_path):
    """`lab … | head`: nothing on standard error but what was said for people, and 128 + SIGPIPE."""
    make_run(tmp_path)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-c", TRY, *arguments],
            stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=60, cwd=ROOT,
            env=os.environ | {"LAB_RESULTS": str(tmp_path)},
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_nobody_on_standard_error_changes_nothing(tmp_path):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-c", TRY, "validate", "smoke"],
            stdout=subprocess.PIPE, stderr=nobody, timeout=60, cwd=ROOT,
        )  # fmt: skip
    assert done.returncode == Exit.OK
