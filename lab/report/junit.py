"""junit.xml: one test case per trial and per threshold, for CI systems that know nothing else.

An invalid trial or a dead server is a failure. A trial without a measurement is an error; so is a check that
could not be made, or a threshold that cannot be decided. Doubts and known limits that were met stand in the
output of their case.
"""

from __future__ import annotations

from collections.abc import Iterator

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from lab.analysis.model import Finding, Summary
from lab.report.content import findings, text, thresholds
from lab.results.record import Run, TrialRecord

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def junit(run: Run, summary: Summary) -> str:
    """Return the document. Times are those of the measured windows, so that it can be made again."""
    suite = TestSuite(text.clean(summary.scenario))
    suite.add_property("run", text.clean(run.id))
    suite.add_property("verdict", summary.verdict)
    for trial in run.trials:
        suite.add_testcase(_trial(trial, summary))
    for case in (*_whole_run(summary), *_thresholds(summary)):
        suite.add_testcase(case)
    document = JUnitXml(text.clean(summary.scenario))
    document.add_testsuite(suite)
    suite.update_statistics()  # type: ignore[no-untyped-call]
    document.update_statistics()  # type: ignore[no-untyped-call]
    document_bytes: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return f"{DECLARATION}{document_bytes.decode()}\n"


def _trial(trial: TrialRecord, summary: Summary) -> TestCase:
    window = trial.load.window_ms if trial.load else (0.0, 0.0)
    name = text.clean(trial.id)
    case = TestCase(name, f"{text.clean(summary.scenario)}.{text.clean(trial.server)}")
    case.time = (window[1] - window[0]) / 1000
    found = [finding for finding in findings.in_order(summary) if finding.trial == trial.id]
    case.result = [result for finding in found if (result := _result(finding)) is not None]
    if trial.status == "failed" and not case.result:
        case.result = [Error(text.clean(trial.reason or "no measurement"), "measurement")]
    lines = [f"{findings.level_word(f)}: {_words(f)}" for f in found if _result(f) is None]
    lines += [
        f"{text.clean(node)}: {text.clean(line)}" for node, tail in trial.last_lines.items() for line in tail
    ]
    if lines:
        case.system_out = "\n".join(lines)
    return case


def _result(finding: Finding) -> Failure | Error | None:
    if finding.expected or finding.level in ("ok", "limit", "suspect"):
        return None
    kind = Error if finding.level == "unknown" else Failure
    return kind(_words(finding), text.clean(finding.check))


def _words(finding: Finding) -> str:
    action = f" → {text.clean(finding.do)}" if finding.do else ""
    return text.clean(finding.says) + action


def _whole_run(summary: Summary) -> Iterator[TestCase]:
    """Yield findings that are about no single trial."""
    for finding in findings.in_order(summary):
        result = _result(finding)
        if finding.trial is None and result is not None:
            case = TestCase(text.clean(finding.check), f"{text.clean(summary.scenario)}.run")
            case.result = [result]
            yield case


def _thresholds(summary: Summary) -> Iterator[TestCase]:
    for threshold in summary.thresholds:
        words = thresholds.words(threshold)
        case = TestCase(words, f"{text.clean(summary.scenario)}.thresholds")
        if not threshold.ok:
            kind, says = (Failure, "did not hold") if threshold.told else (Error, "cannot be decided")
            case.result = [kind(f"{says}: {words}", "threshold")]
        yield case
