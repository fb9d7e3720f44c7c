"""The page on the real apps: what it sends is what they take, what they answer is what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from fake_model import FRAME, FakeModel, app_of, served
from manifest_rows import row, save_rows
from stand_in import Opened

from sottovoce.collect.app import label_app
from sottovoce.collect.collection import open_collection
from sottovoce.data.manifest import read_manifest
from sottovoce.inference.understanding import IntentProbability, Understanding

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., Opened]
SPOKEN_SECONDS = 2.0  # the clip is over by then, and the next has not begun


class HearingModel(FakeModel):
    """Finds the same frame in every recording."""

    def _answer(self, given: Any) -> Understanding:
        sure = (IntentProbability("light", "on", 0.9), IntentProbability("light", "off", 0.1))
        return Understanding(FRAME, "ok", 0.9, sure, "{}", len(given) / 16_000)


def record(page: Page, stop: str) -> None:
    """Records the clip, as the page's clock counts it."""
    page.locator("button.record:enabled").wait_for()
    page.keyboard.press("Space")
    page.wait_for_function(f"() => parseFloat(document.querySelector('.clock').textContent) >= {SPOKEN_SECONDS}")
    page.keyboard.press(stop)


@pytest.mark.slow
def test_a_recording_becomes_a_frame(open_page: Open) -> None:
    model = HearingModel()
    app, _ = app_of(model, transcripts=True)
    with served(app) as address:
        page = open_page(address).page
        record(page, "Space")
        page.locator("#intent:has-text('light on')").wait_for()
        page.locator("#said.words").wait_for()
        assert page.locator("#entities .chip").all_inner_texts() == ["room\nhall\nnot in the transcript"]
        assert page.locator("#likely li").all_inner_texts() == ["Confidence\n90 %", "light off\n10 %"]
        heard = re.fullmatch(r"(\d+) samples", page.locator("#said").inner_text())
        assert heard and SPOKEN_SECONDS - 0.1 < int(heard[1]) / 16_000 < SPOKEN_SECONDS + 2
        page.close()


@pytest.mark.slow
def test_a_kept_recording_is_in_the_manifest(open_page: Open, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    manifest = save_rows(source, row(0), row(1, action="off"))
    with open_collection(manifest, tmp_path / "out", [].append, share=1) as collection:
        collection.name_speaker("anna")
        with served(label_app(collection, "lamps")) as address:
            page = open_page(address).page
            words = page.locator("#utterance:not(:empty)").inner_text()
            record(page, "Space")
            page.locator("#keep:enabled").wait_for()
            page.keyboard.press("Enter")
            page.get_by_text("Kept:").wait_for()
            page.get_by_role("button", name=f"Play: {words}").click()
            page.locator("#recordings [aria-pressed=true]").wait_for()
            page.close()
        [kept] = [each for each in read_manifest(tmp_path / "out/manifest.jsonl") if each.audio]
    assert (kept.transcript, kept.speaker) == (words, "anna")
    assert kept.audio is not None
    stored = soundfile.info(kept.audio)
    assert (stored.samplerate, stored.channels) == (16_000, 1)
    assert stored.duration > SPOKEN_SECONDS - 0.1
