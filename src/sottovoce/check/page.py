"""The page of a check: what is in a manifest and what is wrong with it, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from sottovoce.check.charts import MAX_BARS, Bar, bars_svg, lengths_svg
from sottovoce.check.distributions import Distributions, LabelCount, clip_lengths
from sottovoce.check.manifest import MAX_LISTED, CheckReport
from sottovoce.core.errors import UserError
from sottovoce.core.svg import page_environment

# What the lines of a kind have in common, and why it matters.
_MEANING = {
    "splits": "Training needs train utterances, and scoring needs test utterances.",
    "recordings": "Recordings named in the manifest that are missing or cannot be read.",
    "intents": "Intents in dev or test that no train utterance has: no model can learn them.",
    "speech": "Without speech in train a model can only learn from text.",
    "slot types": "Slot types in dev or test that no train utterance has.",
    "transcripts": "Sentences that an earlier split has too: a model may have memorised them.",
    "long clips": "The model cuts off the end of these recordings.",
    "short clips": "These recordings are too short to say much.",
    "silent clips": "Nothing can be heard in these recordings.",
    "clipped clips": "Recorded too loudly: the peaks are cut off.",
    "lengths that differ": "The manifest gives another length than the recording has; the recording’s is used.",
    "fillers": "Slot values that do not occur in their transcript, so nobody says them.",
}


@dataclass(frozen=True)
class Chart:
    """A picture with its heading and caption; ``svg`` is ready for the page."""

    title: str
    svg: Markup
    caption: str


def write_check_page(report: CheckReport, manifest: Path, page: Path) -> Path:
    """Writes the page of a check.

    Args:
        report: the result of `check_manifest`.
        manifest: what was checked; the page shows this path.
        page: the HTML file, which is replaced if it exists.

    Returns:
        ``page``.

    Raises:
        UserError: the page cannot be written, or would replace the manifest.
    """
    if page.resolve() == manifest.resolve():
        raise UserError(f"the page would replace the manifest {manifest}", "give the page another name")
    try:
        # A path can hold bytes that are not UTF-8, which Python keeps as lone surrogates.
        page.write_text(check_html(report, str(manifest)), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"cannot write the page {page}: {error.strerror}", "give --html another path") from error
    return page


def check_html(report: CheckReport, name: str) -> str:
    """The page of a check of the manifest called ``name``; everything from the manifest is escaped."""
    context = {
        "report": report,
        "name": name,
        "verdict": _verdict(report),
        "charts": list(_charts(report.distributions, report.window_seconds)),
        "meaning": _MEANING,
        "max_open": MAX_LISTED,
    }
    return page_environment("sottovoce.check").get_template("check.html.j2").render(context)


def _verdict(report: CheckReport) -> str:
    faults, warnings = _counted(report.faults_by_kind, "fault"), _counted(report.warnings_by_kind, "warning")
    if faults:
        return f"{faults} to fix before training."
    return f"No faults. {warnings} to look at." if warnings else "No faults and no warnings."


def _counted(by_kind: Mapping[str, Sequence[str]], word: str) -> str:
    """How many there are, by kind; empty if there are none."""
    total = sum(map(len, by_kind.values()))
    kinds = ", ".join(f"{kind} {len(lines)}" for kind, lines in by_kind.items())
    return f"{total} {word if total == 1 else word + 's'} ({kinds})" if total else ""


def _charts(data: Distributions, window_seconds: float) -> Iterator[Chart]:
    if data.seconds:
        lengths = clip_lengths(data.seconds, 2 * window_seconds)
        line = window_seconds if 0 < window_seconds < lengths.end_seconds else None
        caption = f"Number of clips by length. The model hears the first {window_seconds:g}\u00a0s"
        caption += "." if line is None else " (dashed line)."
        caption += " The last bar counts all longer clips too." if lengths.open_ended else ""
        yield Chart("Clip lengths", Markup(lengths_svg(data.seconds, lengths, line)), caption)
    if any(speaker.name is not None for speaker in data.speakers):
        bars = [
            Bar("(not named)" if row.name is None else row.name, row.minutes, row.train_minutes, f"{row.minutes:.1f}")
            for row in data.speakers
        ]
        yield _bar_chart("Minutes per speaker", bars, "Blue: in train. Grey: in dev or test.")
    for title, counts in (("Intents in train", data.intents), ("Slot types in train", data.slot_types)):
        if counts:
            yield _bar_chart(
                title, [_label_bar(row) for row in counts], "Number of utterances. Blue: with speech. Grey: text only."
            )
    if len(data.sampling_rates) > 1:
        bars = [Bar(f"{rate} Hz", number, number, str(number)) for rate, number in data.sampling_rates.items()]
        yield _bar_chart("Sampling rates", bars, "Number of recordings.")


def _label_bar(row: LabelCount) -> Bar:
    return Bar(row.name, row.utterances, row.with_speech, f"{row.with_speech} of {row.utterances}")


def _bar_chart(title: str, bars: list[Bar], caption: str) -> Chart:
    if len(bars) > MAX_BARS:
        caption += f" Shown: the largest {MAX_BARS // 2} and the smallest {MAX_BARS // 2} of {len(bars)}."
    return Chart(title, Markup(bars_svg(bars, title, salt=title)), caption)
