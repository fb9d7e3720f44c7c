"""The page for everybody: names, keyboard, contrast, narrow screens; and its files."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from stand_in import PAGE, TRANSCRIPT, Opened, StandIn

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., Opened]
MODES = pytest.mark.parametrize("mode", ["understand", "label"])


def opened_in(mode: str, open_page: Open, server: StandIn) -> Page:
    server.about["mode"] = mode
    server.takes = {"u1": b""} if mode == "label" else {}
    page: Page = open_page(server.address).page
    if mode == "understand":
        page.get_by_label("An utterance as text").fill(TRANSCRIPT)
        page.keyboard.press("Enter")
        page.locator("#history li").wait_for()
    else:
        page.locator("#recordings li").wait_for()
    return page


@pytest.mark.slow
@MODES
def test_every_control_has_a_name_and_can_be_reached(open_page: Open, server: StandIn, mode: str) -> None:
    page = opened_in(mode, open_page, server)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input:not([type=file]), a, summary, [role=slider]")]
            .filter(each => !(each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length))
            .map(each => each.outerHTML)"""
    )
    assert nameless == []
    controls = page.evaluate(
        """() => [...document.querySelectorAll("button, input, a, summary, [role=slider]")]
            .filter(each => each.checkVisibility({ visibilityProperty: true }) && !each.disabled && each.tabIndex >= 0)
            .map((each, i) => (each.dataset.order = i))"""
    )
    page.evaluate(
        """() => {
            document.body.tabIndex = -1;
            document.body.focus();
            document.body.removeAttribute("tabindex");
        }"""
    )
    reached = []
    for _ in controls:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => Number(document.activeElement.dataset.order ?? -1)"))
    assert reached == controls
    assert len(controls) >= 4


@pytest.mark.slow
@MODES
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(open_page: Open, server: StandIn, mode: str, width: int) -> None:
    server.answer |= {"entities": [{"type": "song_name", "filler": "the very long title of a song" * 4}]}
    page = opened_in(mode, open_page, server)
    page.set_viewport_size({"width": width, "height": 700})
    assert page.evaluate("() => document.documentElement.scrollWidth") == width


WATCH_SHIFTS = """window.shifts = [];
new PerformanceObserver(list => shifts.push(...list.getEntries().map(each => each.value)))
    .observe({ type: "layout-shift", buffered: true });"""


@pytest.mark.slow
@MODES
def test_nothing_jumps(open_page: Open, server: StandIn, mode: str) -> None:
    server.about["mode"] = mode
    page = open_page(server.address, WATCH_SHIFTS).page
    page.locator("button.record:enabled").wait_for()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Stop recording").wait_for()
    page.wait_for_timeout(800)
    page.keyboard.press("Space")
    if mode == "label":
        page.locator("#keep:enabled").click()
    page.locator("#recordings .words" if mode == "label" else "#said mark").first.wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("() => shifts.reduce((sum, each) => sum + each, 0)") < 0.1  # what browsers call good


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_words_take_no_more_room_than_the_note_before_them(open_page: Open, server: StandIn, width: int) -> None:
    page = opened_in("understand", open_page, server)
    page.set_viewport_size({"width": width, "height": 700})
    heights = page.evaluate(
        """async () => {
            const { marked } = await import("/page/frame.js");
            const said = document.getElementById("said");
            const contents = [["a note"], ["six"], marked("six", [{ type: "time", filler: "six" }]).nodes];
            return contents.map((nodes, i) => {
                said.classList.toggle("words", i > 0);
                said.replaceChildren(...nodes);
                return said.getBoundingClientRect().height;
            });
        }"""
    )
    assert max(heights) - min(heights) < 0.5


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    wide = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    channels = [int(wide[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart(scheme: int) -> None:
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", style.split(":root {")[1 + scheme].split("}")[0]))
    texts = [(text, ground) for text in ("ink", "soft", "accent", "wrong") for ground in ("paper", "card")]
    texts += [("on-accent", "accent"), ("ink", "accent-tint"), ("ink", "wrong-tint"), ("accent", "accent-tint")]
    faint = [pair for pair in texts if contrast(*(colours[name] for name in pair)) < 4.5]
    assert faint == []
    assert min(contrast(colours["edge"], colours[ground]) for ground in ("paper", "card")) >= 3  # of fields and buttons


def test_the_page_is_small_and_asks_for_nothing_else() -> None:
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, path.name
        assert not re.search(r"innerHTML|insertAdjacentHTML|eval\(|new Function", text), path.name
        addresses = re.findall(r"https?://[^\s\"'`$]+", text.replace("http://www.w3.org/2000/svg", ""))
        assert [address for address in addresses if "localhost" not in address] == [], path.name
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*src=)", index)
