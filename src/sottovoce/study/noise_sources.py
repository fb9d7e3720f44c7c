"""Where recognition noise comes from: the mishearings for each corpus, language and speech budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from sottovoce.core.types import Utterance
from sottovoce.data.audio import audio_sha256
from sottovoce.data.confusions import ConfusionTable, confusions_of, shipped_confusions
from sottovoce.data.mixture import NoisyText, Part
from sottovoce.data.noise import Mishearings, noisy_transcript
from sottovoce.data.sound_alikes import sound_alikes_in
from sottovoce.data.words import language_of, words_of


def noisy_text_for(
    corpora: Mapping[str, Sequence[Utterance]], budget_ids: Mapping[str, Sequence[str]], heard: Mapping[str, str]
) -> NoisyText:
    """The function that :func:`sottovoce.data.mixture.examples_of` calls for the text of parts with noise.

    A confusion table covers one language; for words it lacks, sound-alikes come from the corpus's own text in that
    language. If none of the budget is transcribed, its table is empty and all noise is sound-alike spelling.

    Args:
        corpora: training utterances by the corpus name that parts use.
        budget_ids: by corpus name, the ids of the utterances that keep their speech.
        heard: the model's transcripts of recordings, by their sha256.
    """

    @cache
    def mishearings(corpus: str, language: str, source: str) -> Mishearings:
        spoken = [u for u in corpora[corpus] if language_of(u.locale) == language]
        vocabulary = sorted({word for utterance in spoken for word in words_of(utterance.transcript)})
        table = ConfusionTable(language)
        if source == "shipped":
            table = shipped_confusions(language)
        elif source == "budget" and heard:
            kept = set(budget_ids.get(corpus, ()))
            clips = [(u, audio_sha256(u.audio, u.where)) for u in spoken if u.id in kept and u.audio and u.transcript]
            pairs = ((utterance.transcript, heard[sha]) for utterance, sha in clips if sha in heard)
            table = confusions_of(pairs, language)
        return Mishearings(table, sound_alikes_in(tuple(vocabulary)))

    def noisy_text(part: Part, utterance: Utterance, copy: int) -> str:
        assert part.noise
        known = mishearings(part.corpus, language_of(utterance.locale), part.noise.source)
        return noisy_transcript(utterance, part.noise, known, copy)

    return noisy_text
