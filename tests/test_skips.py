"""A run that skips what it should not fails, and lists it."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = """
import pytest
def test_passes(): pass
def test_marked(): pytest.skip({reason!r})
@pytest.mark.xfail
def test_expected_to_fail(): raise ValueError
"""
GIVEN_UP = "import pytest\npytest.importorskip('there_is_none', reason='no extra')\ndef test_it(): pass"
OPTIONS = ("-p", "skips", "--no-skips-but", "no GPU", "--no-skips-but", "no data")


@pytest.mark.parametrize("reason", ["no GPU", "no data"])
def test_allowed_reasons_pass_and_are_listed(pytester: pytest.Pytester, reason: str) -> None:
    pytester.makepyfile(TESTS.format(reason=reason))
    result = pytester.runpytest(*OPTIONS)
    result.assert_outcomes(passed=1, skipped=1, xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*1 skipped, 0 of them may not be*", f"allowed: *::test_marked: {reason}"])


@pytest.mark.parametrize("reason", ["no GPUs", "no", "no browser"])
def test_another_reason_fails_a_run_that_passed(pytester: pytest.Pytester, reason: str) -> None:
    pytester.makepyfile(TESTS.format(reason=reason))
    result = pytester.runpytest(*OPTIONS)
    result.assert_outcomes(passed=1, skipped=1, xfailed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*1 skipped, 1 of them may not be*", f"NOT ALLOWED: *::test_marked: {reason}"])


def test_a_file_whose_import_is_given_up_counts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(GIVEN_UP)
    result = pytester.runpytest(*OPTIONS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["NOT ALLOWED: *.py: no extra"])


def test_what_workers_skip_counts_once(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # a process of its own, whose workers find the plugin
    pytester.makepyfile(test_one=TESTS.format(reason="no GPU"), test_two=GIVEN_UP)
    result = pytester.runpytest_subprocess(*OPTIONS, "-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*2 skipped, 1 of them may not be*"])
    result.stdout.fnmatch_lines_random(["NOT ALLOWED: *test_two.py: no extra", "allowed: *::test_marked: no GPU"])


def test_without_the_option_skips_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS.format(reason="no browser"))
    result = pytester.runpytest("-p", "skips")
    assert result.ret == pytest.ExitCode.OK
    assert "may not be" not in result.stdout.str()
