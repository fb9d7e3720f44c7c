"""The page of `sottovoce label` in a browser: record, keep, again, skip; nothing recorded is lost."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import soundfile
from stand_in import UTTERANCES, Opened, StandIn

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., Opened]
FAILED = "Failed to load resource"
FIRST, SECOND, THIRD = (words for _, words, _ in UTTERANCES)


@pytest.fixture
def server(server: StandIn) -> StandIn:
    server.about |= {"mode": "label", "title": "Kitchen recordings", "model": "", "max_seconds": 20.0}
    return server


SOON = "{ const later = setTimeout; window.setTimeout = (act, ms) => later(act, ms === 3000 ? 50 : ms); }"
WATCH_URLS = """{
    window.urls = new Set();
    const { createObjectURL: make, revokeObjectURL: revoke } = URL;
    URL.createObjectURL = blob => {
        const url = make.call(URL, blob);
        urls.add(url);
        return url;
    };
    URL.revokeObjectURL = url => { urls.delete(url); revoke.call(URL, url); };
}"""


def expect_utterance(page: Page, words: str) -> None:
    page.locator(f"#utterance:has-text('{words}')").wait_for()


def record(page: Page) -> None:
    """Records a second with the space bar."""
    page.locator("button.record:enabled").wait_for()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Stop recording").wait_for()
    page.wait_for_timeout(800)
    page.keyboard.press("Space")
    page.locator("#keep:enabled").wait_for()


@pytest.mark.slow
def test_record_keep_next(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address).page
    expect_utterance(page, FIRST)
    assert page.locator("#keep").is_disabled()
    record(page)
    page.keyboard.press("Enter")
    expect_utterance(page, SECOND)
    kept = soundfile.info(io.BytesIO(server.takes["u1"]))
    assert (kept.format, kept.subtype, kept.channels) == ("WAV", "PCM_16", 1)
    assert 0.4 < kept.duration < 3
    assert "There is some noise before the first word." in page.locator("#notice").inner_text()
    assert page.locator(".progress").inner_text().startswith("1 of 3 recorded")
    page.get_by_role("button", name=f"Play: {FIRST}").click()
    page.locator("#recordings [aria-pressed=true]").wait_for()


@pytest.mark.slow
def test_again_replaces_the_take(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address).page
    record(page)
    page.keyboard.press("r")
    page.get_by_role("button", name="Stop recording").wait_for()
    page.wait_for_timeout(1600)
    page.keyboard.press("Space")
    page.locator("#keep:enabled").click()
    expect_utterance(page, SECOND)
    assert soundfile.info(io.BytesIO(server.takes["u1"])).duration > 1.3


def test_skip_and_the_end(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address).page
    for words in (FIRST, SECOND, THIRD):
        expect_utterance(page, words)
        page.locator("#skip:enabled").wait_for()
        page.keyboard.press("s")
    page.get_by_text("Everything is recorded.").wait_for()
    assert server.skipped == {"u1", "u2", "u3"}
    assert page.get_by_role("button", name="Record").is_disabled()


@pytest.mark.slow
def test_what_the_server_refuses_can_be_heard_and_recorded_again(open_page: Open, server: StandIn) -> None:
    opened = open_page(server.address)
    opened.expected.append(FAILED)
    page = opened.page
    server.faults = [(422, {"code": "too_quiet", "what": "it is too quiet", "advice": "come closer"}, {})]
    record(page)
    page.keyboard.press("Enter")
    notice = page.get_by_role("alert")
    assert notice.inner_text() == "Not kept. It is too quiet.\n\nCome closer."
    expect_utterance(page, FIRST)
    assert page.get_by_role("button", name="Play the recording").is_enabled()
    assert server.takes == {}
    page.keyboard.press("Enter")  # the same take once more: what is refused is not lost
    expect_utterance(page, SECOND)


@pytest.mark.slow
def test_set_aside_is_asked_twice(open_page: Open, server: StandIn, clip: object) -> None:
    server.takes = {"u1": b"", "u2": b""}
    page = open_page(server.address).page
    expect_utterance(page, THIRD)
    page.get_by_role("button", name=f"Set aside: {FIRST}").click()
    assert "u1" in server.takes
    page.get_by_role("button", name=f"Really set aside: {FIRST}").click()
    page.locator("#notice:has-text('You will be asked for it again.')").wait_for()
    assert list(server.takes) == ["u2"]
    assert page.locator("#recordings .words").all_inner_texts() == [SECOND]
    assert page.locator(".progress").inner_text().startswith("1 of 3 recorded")


@pytest.mark.slow
def test_the_speaker_is_asked_for_once(open_page: Open, server: StandIn) -> None:
    server.speaker = ""
    page = open_page(server.address).page
    page.get_by_role("textbox", name="Speaker").fill("tom")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Speaker: tom").wait_for()
    assert server.speaker == "tom"
    page.reload()
    expect_utterance(page, FIRST)
    page.get_by_role("button", name="Speaker: tom").wait_for()
    assert page.locator("dialog[open]").count() == 0


@pytest.mark.slow
def test_kept_while_the_server_is_away_and_sent_later(open_page: Open, server: StandIn) -> None:
    opened = open_page(server.address)
    opened.expected.append(FAILED)
    page = opened.page
    record(page)
    server.stop()
    page.keyboard.press("Enter")
    page.get_by_text("1 recording is waiting in this browser").wait_for()
    page.get_by_text("Waiting for the server").wait_for()
    server.start()
    expect_utterance(page, SECOND)
    page.get_by_text("1 waiting recording was sent.").wait_for()
    assert soundfile.info(io.BytesIO(server.takes["u1"])).duration > 0.4
    assert page.locator("#waiting").is_hidden()


@pytest.mark.slow
def test_a_closed_page_loses_nothing(open_page: Open, server: StandIn) -> None:
    first = open_page(server.address)
    record(first.page)
    first.page.close()  # not kept yet
    second = open_page(server.address)
    second.expected.append(FAILED)
    second.page.get_by_text("This was recorded before the page was closed.").wait_for()
    server.stop()
    second.page.keyboard.press("Enter")
    second.page.get_by_text("1 recording is waiting in this browser").wait_for()
    second.page.close()  # kept, not sent yet
    server.start()
    third = open_page(server.address)
    expect_utterance(third.page, SECOND)
    third.page.get_by_text("1 waiting recording was sent.").wait_for()
    assert soundfile.info(io.BytesIO(server.takes["u1"])).duration > 0.4


@pytest.mark.slow
def test_a_busy_server_holds_nobody_up(open_page: Open, server: StandIn) -> None:
    opened = open_page(server.address)
    opened.expected.append(FAILED)
    page = opened.page
    record(page)
    server.faults = [(503, {"code": "busy", "what": "too many at once", "advice": "wait"}, {"Retry-After": "1"})]
    page.keyboard.press("Enter")
    expect_utterance(page, SECOND)  # the next one, though the first is not sent yet
    page.get_by_text("1 waiting recording was sent.").wait_for()
    assert list(server.takes) == ["u1"]


@pytest.mark.slow
def test_without_a_token_nothing_is_lost_and_nobody_is_asked_twice(open_page: Open, server: StandIn) -> None:
    opened = open_page(server.address, SOON)
    opened.expected.append(FAILED)
    page = opened.page
    record(page)
    server.token = "open-sesame"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("1 recording is waiting in this browser").wait_for()
    page.wait_for_timeout(500)
    assert page.locator("dialog[open]").count() == 0
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("textbox", name="Token").fill("open-sesame")
    page.keyboard.press("Enter")
    expect_utterance(page, SECOND)
    page.get_by_text("1 waiting recording was sent.").wait_for()
    assert list(server.takes) == ["u1"]


def test_a_take_that_finds_room_again_lies_in_the_database_alone(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address).page
    found = page.evaluate(
        """async () => {
            const takes = await (await import("/page/takes.js")).Takes.open("of a test");
            const put = IDBObjectStore.prototype.put;
            IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); };
            await takes.put({ key: "1", state: "draft" });
            const before = takes.lasting;
            IDBObjectStore.prototype.put = put;
            await takes.put({ key: "1", state: "waiting" });
            const states = await Promise.all(["draft", "waiting"].map(state => takes.all(state)));
            return [before, takes.lasting, ...states.map(each => each.length)];
        }"""
    )
    assert found == [False, True, 0, 1]


@pytest.mark.slow
def test_what_is_refused_later_can_be_saved_as_a_file(open_page: Open, server: StandIn) -> None:
    opened = open_page(server.address, WATCH_URLS)
    opened.expected.append(FAILED)
    page = opened.page
    record(page)
    busy = (503, {"code": "busy", "what": "too many at once", "advice": "wait"}, {"Retry-After": "1"})
    server.faults = [busy, (404, {"code": "not_found", "what": "there is no such utterance", "advice": "x"}, {})]
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Save as a file")
    with page.expect_download() as download:
        link.click()
    assert soundfile.info(download.value.path()).duration > 0.4
    page.get_by_role("button", name="Discard").click()
    page.locator("#waiting").wait_for(state="hidden")
    assert page.evaluate("() => urls.size") == 0  # each would hold a recording in memory
