"""Checks at once, from its samples and without a model, whether a new recording is fit for training.

A recording that would teach nothing, or wrong things, is refused; one that could merely be better gets a note: the
speaker is still there and can repeat it. Everything is computed from the levels of short frames;
``docs/evidence/label.md`` has the results for the recordings of the built-in corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sottovoce.check.listen import CLIPPED_SHARE
from sottovoce.data.audio import SAMPLING_RATE, SILENT_DB, AudioLevel, Samples, frame_levels_db

MIN_SECONDS = 0.3  # about as long as a brisk "stop"
FRAME_SECONDS = 0.02  # short enough for pauses within words, long enough for low voices
QUIET_DB, TOO_QUIET_DB = -35.0, -45.0  # of the loudest part; a laptop's microphone hisses at about -60
TOO_CLIPPED_SHARE = 0.005  # of the samples: vowels are flattened throughout and sound wrong
MIN_RANGE_DB = 10.0  # between the loudest frame and the quiet ones; steady noise and hum stay within 6
NOISY_RANGE_DB = 18.0  # speech about 12 dB above the noise of the room
SPEECH_BELOW_LOUDEST_DB = 30.0  # the weakest consonants are about as far below the loudest vowel
SPEECH_ABOVE_FLOOR_DB = 6.0  # anything closer to the quiet frames is the room
MIN_SPEECH_SECONDS = 0.15  # a click or a knock is shorter than a word
EDGE_SECONDS, EDGE_DB = 0.1, 15.0  # a cut word is nearly at full level from the first frame
LONG_SILENCE_SECONDS, MAX_SILENCE_SECONDS = 1.0, 2.5  # at either end, where it wastes the model's window
MIN_SECONDS_PER_WORD = 0.1  # nobody reads ten words a second, so words are missing
SLOW_SECONDS, SLOW_SECONDS_PER_WORD = 1.5, 1.0  # the speaker said something else, or more
_LETTERS_PER_WORD = 5  # in scripts that put no spaces between words letters are counted


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a recording: a word for programs, and what is so and what to do about it, a sentence each."""

    code: str
    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class TakeCheck:
    """The result for a recording.

    ``peak_share`` is its largest sample, 1 at full scale. With ``refusals``, worst first, it must not be kept;
    ``notes`` do not matter for that.
    """

    seconds: float
    peak_share: float
    refusals: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def check_take(samples: Samples, level: AudioLevel, transcript: str, window_seconds: float) -> TakeCheck:
    """Checks a recording.

    Args:
        samples: at 16 kHz, -1..1, shape (num_samples,).
        level: of the recording at its original sampling rate, which still shows clipping.
        transcript: what should have been said.
        window_seconds: the longest clip that the model does not cut.
    """
    seconds, peak = len(samples) / SAMPLING_RATE, float(np.abs(samples).max(initial=0.0))
    notes = list[Finding]()
    refusals = [*_of_length(seconds, window_seconds), *_of_level(level)]
    if not refusals:
        speech = _Speech.of(samples)
        refusals = list(_of_speech(speech, transcript))
        notes = [] if refusals else list(_notes(speech, level, transcript))
    return TakeCheck(seconds, min(peak, 1.0), tuple(refusals), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Speech:
    """Where the speech is: silence before and after it, its span and how much of that is loud, all in seconds.

    ``range_db`` is between the loudest frame and the quietest tenth; ``starts_in`` and ``ends_in`` say that the
    recording starts or ends within a word.
    """

    before: float
    after: float
    span: float
    loud: float
    range_db: float
    starts_in: bool
    ends_in: bool

    @classmethod
    def of(cls, samples: Samples) -> _Speech:
        levels = frame_levels_db(samples, FRAME_SECONDS)
        loudest, floor = float(levels.max()), float(np.percentile(levels, 10))
        is_loud = levels > max(loudest - SPEECH_BELOW_LOUDEST_DB, floor + SPEECH_ABOVE_FLOOR_DB)
        loud = np.flatnonzero(is_loud)
        if not len(loud):
            return cls(0.0, 0.0, 0.0, 0.0, loudest - floor, False, False)
        first, last, edge = int(loud[0]), int(loud[-1]), round(EDGE_SECONDS / FRAME_SECONDS)
        near = levels > loudest - EDGE_DB
        return cls(
            before=first * FRAME_SECONDS,
            after=(len(levels) - 1 - last) * FRAME_SECONDS,
            span=(last + 1 - first) * FRAME_SECONDS,
            loud=len(loud) * FRAME_SECONDS,
            range_db=loudest - floor,
            starts_in=bool(near[0] and is_loud[:edge].all()),  # a keystroke is shorter
            ends_in=bool(near[-1] and is_loud[-edge:].all()),
        )


def _of_length(seconds: float, window_seconds: float) -> Iterator[Finding]:
    if seconds < MIN_SECONDS:
        yield Finding("too_short", f"it lasts {seconds:.2f} s, too short for a word", "start, speak, then stop")
    if seconds > window_seconds:
        fault = f"it lasts {seconds:.1f} s, but the model only hears {window_seconds:g} s"
        yield Finding("too_long", fault, "read without long pauses, or skip this sentence")


def _of_level(level: AudioLevel) -> Iterator[Finding]:
    if level.loudest_db < SILENT_DB:
        yield Finding(
            "no_speech", "nothing can be heard", "check that the microphone is not muted and is the right one"
        )
    elif level.loudest_db < TOO_QUIET_DB:
        fault = f"it is too quiet: its loudest part is at {level.loudest_db:.0f} dB"
        yield Finding("too_quiet", fault, "move closer to the microphone, or raise its level")
    if level.share_at_full_scale > TOO_CLIPPED_SHARE:
        fault = f"it is clipped: {level.share_at_full_scale:.1%} of its samples are at full scale"
        yield Finding("clipped", fault, "move away from the microphone, or lower its level")


def _of_speech(speech: _Speech, transcript: str) -> Iterator[Finding]:
    if speech.range_db < MIN_RANGE_DB or speech.loud < MIN_SPEECH_SECONDS:
        yield Finding("no_speech", "no speech stands out from the noise", "speak up, or find a quieter place")
        return
    if speech.starts_in:
        yield Finding("cut_start", "the first word is cut off", "wait a moment after starting, then speak")
    if speech.ends_in:
        yield Finding("cut_end", "the last word is cut off", "wait a moment after speaking, then stop")
    for code, place, silence in (("start", "begins", speech.before), ("end", "ends", speech.after)):
        if silence > MAX_SILENCE_SECONDS:
            fault = f"it {place} with {silence:.1f} s of silence"
            yield Finding(f"silent_{code}", fault, "start shortly before you speak, and stop shortly after")
    num_words = len(transcript.split())
    if speech.span < MIN_SECONDS_PER_WORD * num_words:
        fault = f"{speech.span:.1f} s of speech is too short for the sentence's {num_words} words"
        yield Finding("too_fast", fault, "read the whole sentence")


def _notes(speech: _Speech, level: AudioLevel, transcript: str) -> Iterator[Finding]:
    if level.loudest_db < QUIET_DB:
        fault = f"it is rather quiet: its loudest part is at {level.loudest_db:.0f} dB"
        yield Finding("quiet", fault, "move closer to the microphone")
    if speech.range_db < NOISY_RANGE_DB:
        yield Finding("noisy", "it is noisy", "find a quieter place, or move closer to the microphone")
    if level.share_at_full_scale > CLIPPED_SHARE:
        fault = f"{level.share_at_full_scale:.2%} of its samples are at full scale"
        yield Finding("nearly_clipped", fault, "move a little away from the microphone")
    for code, place, silence in (("start", "begins", speech.before), ("end", "ends", speech.after)):
        if silence > LONG_SILENCE_SECONDS:
            fault = f"it {place} with {silence:.1f} s of silence"
            yield Finding(f"long_silence_{code}", fault, "start and stop closer to your words")
    num_words = max(len(transcript.split()), len(transcript) / _LETTERS_PER_WORD)
    if speech.span > SLOW_SECONDS + SLOW_SECONDS_PER_WORD * num_words:
        fault = f"{speech.span:.1f} s of speech is long for such a short sentence"
        yield Finding("slow", fault, "check that nothing else was said")
