"""What the page's tests share: a stand-in server, and headless Chromium whose microphone hears a built-in recording."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage
    from stand_in import Opened, StandIn

sys.path.insert(0, str(Path(__file__).parent))

BEFORE_SECONDS, AFTER_SECONDS = 0.3, 1.2


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built-in recording as a WAV file."""
    import sottovoce

    source = Path(sottovoce.__file__).parent / "assets/home/audio/en-US/home-train-0001.ogg"
    samples, rate = soundfile.read(source)
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def microphone(clip: Path) -> Path:
    """What the microphone hears: the clip in a room that hisses a little."""
    samples, rate = soundfile.read(clip)
    before, after = (np.zeros(round(seconds * rate)) for seconds in (BEFORE_SECONDS, AFTER_SECONDS))
    heard = np.concatenate([before, samples, after])
    heard += np.random.default_rng(0).uniform(-0.002, 0.002, len(heard))
    path = clip.with_name("microphone.wav")
    soundfile.write(path, heard, rate, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")  # while it is there an event loop runs, in which other tests could start none
def browser(microphone: Path) -> Iterator[Browser]:
    """Headless Chromium; its microphone hears the clip over and over, and is allowed without asking."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium here to open the page with")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: pip install -e '.[browser]'")
    from playwright.sync_api import sync_playwright

    heard = f"--use-file-for-fake-audio-capture={microphone}"
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", heard, "--no-sandbox"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@pytest.fixture
def server() -> Iterator[StandIn]:
    from stand_in import StandIn

    state = StandIn()
    state.start()
    yield state
    state.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Opens addresses in a fresh browser profile; afterwards no page may have complained or asked another host."""
    from stand_in import Opened

    context = browser.new_context(permissions=["microphone"], viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    opened: list[Opened] = []

    def open_address(address: str, before: str = "") -> Opened:
        page = context.new_page()
        this = Opened(page)

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                this.complaints.append(message.text)

        page.on("console", on_console)
        page.on("pageerror", lambda error: this.complaints.append(str(error)))
        page.on("request", lambda request: this.hosts.add(request.url.split("/")[2]))
        if before:
            page.add_init_script(before)
        page.goto(address)
        opened.append(this)
        return this

    yield open_address
    for each in opened:
        complaints = [text for text in each.complaints if not any(piece in text for piece in each.expected)]
        assert complaints == []
        assert {host for host in each.hosts if host} <= {each.page.url.split("/")[2]}  # "" is of blob: addresses
    context.close()
