"""``--no-skips-but REASON``: a run in which a test was skipped for another reason fails, and lists such tests.

May be given more than once; a reason must match whole. With pytest-xdist the workers' reports are judged where they are
gathered.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

Report = pytest.TestReport | pytest.CollectReport


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips-but", action="append", metavar="REASON", help="fail if a test is skipped for another reason"
    )


def pytest_configure(config: pytest.Config) -> None:
    allowed = config.getoption("no_skips_but")
    if allowed is not None and not hasattr(config, "workerinput"):  # which only pytest-xdist's workers have
        config.pluginmanager.register(Skips(allowed))


class Skips:
    """Judges what was skipped: tests, and files whose import was given up."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = allowed
        self.reasons: dict[str, str] = {}  # by node id

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def note(self, report: Report) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            assert isinstance(report.longrepr, tuple)  # file, line, reason
            self.reasons[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")

    def refused(self) -> list[str]:
        return [node for node, reason in self.reasons.items() if reason not in self.allowed]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.refused() and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        refused = self.refused()
        terminalreporter.section(f"{len(self.reasons)} skipped, {len(refused)} of them may not be")
        for node, reason in self.reasons.items():
            terminalreporter.line(f"{'NOT ALLOWED' if node in refused else 'allowed'}: {node}: {reason}")
