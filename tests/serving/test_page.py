"""The page in a real browser: type, press, hear, cancel, errors, voices."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_endpoint import recording

from fakes import FakeEngine, app_of, wait_for
from live import listening
from voice_arrays import arrays

api = pytest.importorskip("playwright.sync_api", reason="the page is tested where Playwright is installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="the page is tested where Chromium is installed"),
]
INKED = """id => {
    const canvas = document.getElementById(id);
    return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(value => value > 0);
}"""
TEXT = "One is here. [pause 0.1] Two is there."


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def page(engine: FakeEngine) -> Iterator[Any]:
    with listening(app_of(engine, max_batch=1)) as url, api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        page = browser.new_page(viewport={"width": 390, "height": 844})  # a phone
        page.set_default_timeout(20_000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        outside: list[str] = []
        page.on("request", lambda request: outside.append(request.url))
        page.goto(url)
        page.wait_for_function("document.getElementById('model').textContent === 'toy'")
        yield page
        browser.close()
        assert not problems
        ours = (url, "data:", "blob:")
        assert not [address for address in outside if not address.startswith(ours)], "nothing is loaded from elsewhere"


def press(page: Any, text: str = TEXT, seed: str = "7") -> None:
    page.fill("#text", text)
    page.fill("#seed", seed)
    page.focus("#text")
    page.keyboard.press("Control+Enter")


def heard(page: Any) -> np.ndarray:
    return np.array(page.evaluate("Array.from(window.heard)"), np.float32)


def test_type_press_hear(page: Any) -> None:
    press(page)
    page.wait_for_selector("#takes li")
    samples = heard(page)
    assert len(samples) > 24_000
    assert np.abs(samples).max() > 0.1
    assert "seed 7" in page.inner_text("#takes li")
    assert page.evaluate(INKED, "wave")
    assert page.evaluate(INKED, "tokens")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits on a phone"


@pytest.mark.parametrize(("label", "head"), [("WAV", b"RIFF"), ("MP3", b""), ("SRT", b"1\n00:00:")])
def test_takes_can_be_kept(page: Any, label: str, head: bytes, tmp_path: Path) -> None:
    with page.expect_download() as download:
        page.locator("#takes li").first.get_by_role("button", name=label).click()
    data = Path(download.value.path()).read_bytes()
    assert data.startswith(head)
    assert len(data) > 50


def test_cancel(page: Any, engine: FakeEngine) -> None:
    takes = page.locator("#takes li").count()
    engine.gate.clear()
    press(page)
    page.click("#cancel")
    page.wait_for_function("document.getElementById('state').textContent === 'Cancelled'")
    engine.gate.set()
    assert page.locator("#takes li").count() == takes
    assert page.is_enabled("#speak")


def test_errors_are_shown(page: Any, engine: FakeEngine) -> None:
    press(page, "a" * 5000)
    page.wait_for_function("document.getElementById('error').textContent.includes('5000 characters')")
    engine.fail = RuntimeError("broken")
    press(page)
    page.wait_for_function("document.getElementById('error').textContent.includes('request id')")
    engine.fail = None
    press(page)
    page.wait_for_function("document.getElementById('error').textContent === ''")
    page.wait_for_function("!document.getElementById('speak').disabled")


def test_a_voice_is_uploaded(page: Any, library: Path) -> None:
    content = io.BytesIO()
    np.savez(content, **arrays())
    page.click("summary")
    page.set_input_files("#file", {"name": "mine.npz", "mimeType": "application/zip", "buffer": content.getvalue()})
    page.click("#upload")
    page.wait_for_function("document.getElementById('voice').value === 'mine'")
    assert (library / "mine.npz").is_file()
    takes = page.locator("#takes li").count()
    page.check("#timed")
    press(page)
    wait_for(lambda: page.locator("#takes li").count() == takes + 1)
    assert "mine" in page.inner_text("#takes li")


def test_a_recording_is_uploaded_with_consent(page: Any, library: Path) -> None:
    page.set_input_files("#file", {"name": "me.wav", "mimeType": "audio/wav", "buffer": recording()})
    page.click("#upload")
    page.wait_for_function("document.getElementById('error').textContent.includes('consent')")
    page.check("#consent")
    page.click("#upload")
    page.wait_for_function("document.getElementById('voice').value === 'me'")
    assert (library / "me.npz").is_file()


def test_labels_and_themes(page: Any) -> None:
    """Every control has a name, and the colours follow the system."""
    assert page.evaluate("[...document.querySelectorAll('input, textarea, select')].every(c => c.labels.length)")
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).color"))
    assert colours[0] != colours[1]
