"""The page lets the microphone go: a take that did not come about leaves it open no longer than one that did."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from stand_in import Opened, StandIn

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., Opened]
# A minute passes at once, and opening the microphone takes a while.
SLOW_MICROPHONE = """{
    const later = setTimeout;
    window.setTimeout = (act, ms) => later(act, ms === 60000 ? 50 : ms);
    window.streams = [];
    const devices = navigator.mediaDevices;
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async wanted => {
        await new Promise(done => later(done, 2000));
        streams.push(await open(wanted));
        return streams.at(-1);
    };
}"""
BROKEN_CONTEXT = "AudioContext.prototype.resume = async () => { throw new DOMException('no', 'InvalidStateError'); };"


def expect_let_go(page: Page) -> None:
    page.wait_for_function(
        "() => streams.length === 1 && streams[0].getTracks().every(each => each.readyState === 'ended')"
    )


@pytest.mark.slow
def test_space_that_is_let_go_before_the_microphone_is_open_records_nothing(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address, SLOW_MICROPHONE).page
    page.get_by_role("button", name="Record").wait_for()
    page.keyboard.down("Space")
    page.get_by_role("button", name="Waiting for the microphone").wait_for()
    page.wait_for_timeout(600)
    page.keyboard.up("Space")
    page.get_by_role("button", name="Record", exact=True).wait_for()
    expect_let_go(page)
    assert server.uploads == []


@pytest.mark.slow
def test_a_take_that_cannot_begin_lets_the_microphone_go(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address, SLOW_MICROPHONE + BROKEN_CONTEXT).page
    page.get_by_role("button", name="Record").click()
    page.get_by_text("The microphone could not be opened.").wait_for()
    expect_let_go(page)


@pytest.mark.slow
def test_after_a_take_the_microphone_is_let_go(open_page: Open, server: StandIn) -> None:
    page = open_page(server.address, SLOW_MICROPHONE).page
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name="Stop recording").click()
    page.get_by_role("button", name="Record", exact=True).wait_for()
    expect_let_go(page)
