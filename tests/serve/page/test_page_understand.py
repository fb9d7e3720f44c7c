"""The page of `sottovoce serve` in a browser: record, type, drop; answers, refusals, the token."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stand_in import ABOUT, TRANSCRIPT, Opened, StandIn

Open = Callable[..., Opened]
FAILED = "Failed to load resource"


def test_typed_text_becomes_a_frame(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address).page
    page.get_by_label("An utterance as text").fill(TRANSCRIPT)
    page.keyboard.press("Enter")
    page.locator("#intent:has-text('alarm set')").wait_for()
    assert server.texts == [TRANSCRIPT]
    assert page.locator("#entities .chip").all_inner_texts() == ["time\nhalf past six", "date\nnext wednesday"]
    assert page.locator("#said mark").all_inner_texts() == ["half past six", "next wednesday"]
    assert page.locator("#likely li").all_inner_texts()[:2] == ["Confidence\n50 % needed\n87 %", "calendar set\n6 %"]
    assert page.locator("#latency").inner_text() == "190 ms, of which 181 ms computing, 3 ms waiting"
    assert "confidence 87 %" in page.locator("#said-aloud").inner_text()


@pytest.mark.slow
def test_a_recording_is_a_wav_with_sound_in_it(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address).page
    page.get_by_role("button", name="Record").click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop recording").click()
    page.locator("#intent:has-text('alarm set')").wait_for()
    page.locator("#said mark").first.wait_for()  # the transcript came by a request of its own
    samples, rate = soundfile.read(io.BytesIO(server.uploads[0]))
    header = soundfile.info(io.BytesIO(server.uploads[0]))
    assert (header.format, header.subtype, header.channels) == ("WAV", "PCM_16", 1)
    assert 1.0 < len(samples) / rate < 5
    assert np.abs(samples).max() > 0.02
    assert np.corrcoef(samples[:-1], samples[1:])[0, 1] > 0.8  # speech, not bytes in a wrong order
    assert page.get_by_role("button", name="Play the recording").is_enabled()


@pytest.mark.slow
def test_the_space_bar_toggles_and_holds(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address).page
    page.get_by_role("button", name="Record").wait_for()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Stop recording").wait_for()
    page.wait_for_timeout(700)
    page.keyboard.press("Space")
    page.locator("#history li").wait_for()
    page.keyboard.down("Space")
    page.wait_for_timeout(1000)
    page.keyboard.up("Space")
    page.locator("#history li:nth-child(2)").wait_for()
    page.get_by_label("An utterance as text").focus()
    page.keyboard.type("a b")  # a space that is typed records nothing
    assert page.get_by_role("button", name="Record", exact=True).is_visible()
    assert len(server.uploads) == 2


@pytest.mark.slow
def test_a_recording_ends_at_the_longest_that_is_taken(open_page: Open, server: StandIn) -> None:
    server.about["max_seconds"] = 0.7
    page = open_page(server.address).page
    page.get_by_role("button", name="Record").click()
    page.locator("#intent:has-text('alarm set')").wait_for()
    assert 0.5 < soundfile.info(io.BytesIO(server.uploads[0])).duration <= 0.7


@pytest.mark.slow
def test_a_chosen_and_a_dropped_file_are_sent_as_they_are(open_page: Open, server: StandIn, clip: Path) -> None:
    page = open_page(server.address).page
    page.locator("#file").set_input_files(clip)
    page.locator("#history li").wait_for()
    page.evaluate(
        """bytes => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([new Uint8Array(bytes)], "dropped.wav", { type: "audio/wav" }));
            const how = { dataTransfer: dropped, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent("drop", how));
        }""",
        list(clip.read_bytes()),
    )
    page.locator("#history li:nth-child(2)").wait_for()
    assert server.uploads == [clip.read_bytes()] * 2


@pytest.mark.slow
def test_a_format_that_only_the_browser_reads_is_converted(open_page: Open, server: StandIn, clip: Path) -> None:
    server.faults = [(415, {"code": "not_audio", "what": "this is no audio", "advice": "send WAV"}, {})]
    opened = open_page(server.address)
    opened.expected.append(FAILED)
    opened.page.locator("#file").set_input_files(clip)
    opened.page.locator("#history li").wait_for()
    assert soundfile.info(io.BytesIO(server.uploads[0])).samplerate == 44_100  # the page's, not the clip's


@pytest.mark.slow
def test_a_file_that_is_too_large_is_not_sent(open_page: Open, server: StandIn, clip: Path) -> None:
    server.about["max_bytes"] = 1000
    page = open_page(server.address).page
    page.locator("#file").set_input_files(clip)
    page.locator("#notice:has-text('the server accepts at most 0.0 MB')").wait_for()
    assert server.uploads == []


@pytest.mark.slow
def test_the_history_shows_again(open_page: Open, server: StandIn, clip: Path) -> None:
    page = open_page(server.address).page
    page.locator("#file").set_input_files(clip)
    page.locator("#said mark").first.wait_for()
    server.answer |= {"scenario": "lights", "action": "on", "intent": "lights_on", "entities": []}
    page.get_by_label("An utterance as text").fill("lights please")
    page.keyboard.press("Enter")
    page.locator("#intent:has-text('lights on')").wait_for()
    assert page.locator("#history .words").all_inner_texts() == ["lights please", TRANSCRIPT]
    page.get_by_role("button", name=f"Play: {TRANSCRIPT}").click()
    page.locator("#intent:has-text('alarm set')").wait_for()
    page.get_by_role("button", name="Pause").wait_for()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "what"), [(413, "the recording is too large"), (422, "the text is empty"), (503, "the queue is full")]
)
def test_a_refusal_is_told_in_the_servers_words(open_page: Open, server: StandIn, status: int, what: str) -> None:
    headers = {"Retry-After": "1"} if status == 503 else {}
    server.faults = [(status, {"code": "x", "what": what, "advice": "do this"}, headers)]
    opened = open_page(server.address)
    opened.expected.append(FAILED)
    page = opened.page
    page.get_by_label("An utterance as text").fill("wake me")
    page.keyboard.press("Enter")
    notice = page.get_by_role("alert")
    assert notice.locator(".what").inner_text() == what.capitalize() + "."
    assert notice.locator(".advice").inner_text() == "Do this."
    page.get_by_role("button", name="Try again", exact=True).click()
    page.locator("#intent:has-text('alarm set')").wait_for()
    assert page.get_by_role("alert").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "abstained", "confidence": 0.31}, "Not confident enough to answer: 31 %, below the required 50 %"),
        ({"status": "unreadable", "text": "alarm set!"}, "could not be read as a frame. It was:\n\nalarm set!"),
        ({"cut": True, "seconds": 41.0}, "The model only hears the first 30.0 s"),
    ],
)
def test_doubts_are_told(open_page: Open, server: StandIn, change: dict[str, object], words: str) -> None:
    server.answer |= change
    page = open_page(server.address).page
    page.get_by_label("An utterance as text").fill("wake me")
    page.keyboard.press("Enter")
    page.locator("#notice .what").wait_for()
    assert words in page.locator("#notice").inner_text()


@pytest.mark.slow
def test_nearly_sure_is_not_shown_as_sure(open_page: Open, server: StandIn) -> None:
    others = [{"intent": "alarm_query", "probability": 0.0031}, {"intent": "timer_set", "probability": 0.0}]
    server.answer |= {"confidence": 0.9961, "intents": [{"intent": "alarm_set", "probability": 0.9961}, *others]}
    page = open_page(server.address).page
    page.get_by_label("An utterance as text").fill("wake me")
    page.keyboard.press("Enter")
    page.locator("#intent:has-text('alarm set')").wait_for()
    assert page.locator("#likely .share").all_inner_texts() == [">99 %", "<1 %", "0 %"]


@pytest.mark.slow
def test_an_answer_without_confidence_has_no_bars(open_page: Open, server: StandIn) -> None:
    server.answer |= {"confidence": None, "intents": []}
    page = open_page(server.address).page
    page.get_by_label("An utterance as text").fill("wake me")
    page.keyboard.press("Enter")
    page.locator("#intent:has-text('alarm set')").wait_for()
    assert page.locator("#likely").is_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["wrong", "сезам"])  # no header can hold the second
def test_the_token_is_asked_for_and_kept(open_page: Open, server: StandIn, wrong: str) -> None:
    server.token = "open-sesame"
    opened = open_page(server.address)
    opened.expected.append(FAILED)
    page = opened.page
    page.get_by_role("textbox", name="Token").fill(wrong)
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("The token was not accepted.").wait_for()
    page.get_by_role("textbox", name="Token").fill("open-sesame")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=ABOUT["title"]).wait_for()
    page.reload()
    page.get_by_role("heading", name=ABOUT["title"]).wait_for()
    assert page.locator("dialog[open]").count() == 0


WATCH_FRAMES = """{
    window.pending = new Set();
    const [ask, cancel] = [requestAnimationFrame, cancelAnimationFrame];
    window.requestAnimationFrame = act => {
        const id = ask(now => { pending.delete(id); act(now); });
        pending.add(id);
        return id;
    };
    window.cancelAnimationFrame = id => { pending.delete(id); cancel(id); };
}"""


@pytest.mark.slow
def test_moving_about_in_what_plays_draws_it_once(open_page: Open, server: StandIn, microphone: Path) -> None:
    page = open_page(server.address, WATCH_FRAMES).page
    page.locator("#file").set_input_files(microphone)
    page.locator("#history li").wait_for()
    page.get_by_role("button", name="Play the recording").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("slider").focus()
    for _ in range(4):
        page.keyboard.press("Home")
        page.wait_for_timeout(100)
    assert page.evaluate("() => pending.size") == 1


REFUSED = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', '%s'); };"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "words"),
    [
        (REFUSED % "NotAllowedError", "The microphone was not allowed."),
        (REFUSED % "NotFoundError", "No microphone was found."),
        (REFUSED % "NotReadableError", "Another program may be using it"),
    ],
)
def test_why_the_microphone_cannot_be_used(open_page: Open, server: StandIn, before: str, words: str) -> None:
    page = open_page(server.address, before).page
    page.get_by_role("button", name="Record").click()
    assert words in page.get_by_role("alert").inner_text()


@pytest.mark.slow
def test_without_https_the_page_says_so_and_goes_on(open_page: Open, server: StandIn) -> None:
    insecure = "Object.defineProperty(window, 'isSecureContext', { value: false });"
    page = open_page(server.address, insecure).page
    page.get_by_text("only over https or on localhost").wait_for()
    assert page.get_by_role("button", name="Record").is_disabled()
    page.get_by_label("An utterance as text").fill("wake me")
    page.keyboard.press("Enter")
    page.locator("#intent:has-text('alarm set')").wait_for()


@pytest.mark.slow
def test_a_server_that_went_away_is_told_and_asked_again(open_page: Open, server: StandIn) -> None:
    opened = open_page(server.address)
    opened.expected.append(FAILED)
    page = opened.page
    page.get_by_role("heading", name=ABOUT["title"]).wait_for()
    server.stop()
    page.get_by_label("An utterance as text").fill("wake me")
    page.keyboard.press("Enter")
    page.get_by_text("The server does not answer.").wait_for()
    server.start()
    page.get_by_role("button", name="Try again").click()
    page.locator("#intent:has-text('alarm set')").wait_for()


def test_fillers_are_found_in_the_words(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address).page
    cases: list[tuple[str, list[tuple[str, str]], list[tuple[str, str | None]], list[str]]] = [
        ("Six at six", [("time", "six")], [("Six", "time"), (" at six", None)], []),
        ("a sixth", [("time", "six")], [("a sixth", None)], ["six"]),
        ("two and two", [("a", "two"), ("b", "two")], [("two", "a"), (" and ", None), ("two", "b")], []),
        ("new york bay", [("city", "york"), ("place", "new york")], [("new york", "place"), (" bay", None)], ["york"]),
        ("at 6.30 (sharp)", [("time", "6.30 (sharp)")], [("at ", None), ("6.30 (sharp)", "time")], []),
        ("play blink-182 a/c", [("x", "blink-182")], [("play ", None), ("blink-182", "x"), (" a/c", None)], []),
        ("明天叫我", [("date", "明天")], [("明天", "date"), ("叫我", None)], []),
    ]
    for words, entities, parts, missing in cases:
        given = [{"type": kind, "filler": filler} for kind, filler in entities]
        found = page.evaluate(
            "async ([words, given]) => (await import('/page/fillers.js')).cutAtFillers(words, given)", [words, given]
        )
        assert [(part["text"], part["type"]) for part in found["parts"]] == parts
        assert [entity["filler"] for entity in found["missing"]] == missing
