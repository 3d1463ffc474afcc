"""The page in a browser: it renders without an error, and answers to the pointer, the finger and the keyboard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_run import make_run

from results.report import write_report
from search_spaces import SPACES

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed; it comes with the extra `test`"
)

CHROMIUM, DRIVER = (next(filter(None, map(shutil.which, names)), None) for names in (
    ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)))  # fmt: skip

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="there is no Chromium with its chromedriver here"),
    # selenium leaves the pipes of the driver that it stops to the collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
STEM = "stem_c8-"


class Browser:
    """A headless Chromium with one page open."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(
        self, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False, touch: bool = False
    ) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setDeviceMetricsOverride", size)
        self.command("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.command("Emulation.setTouchEmulationEnabled", {"enabled": touch})
        self.driver.get_log("performance")
        self.driver.get(page.as_uri())

    def command(self, name: str, values: dict[str, Any]) -> Any:
        return self.driver.execute_cdp_cmd(name, values)

    def run(self, code: str, *values: Any) -> Any:
        return self.driver.execute_script(code, *values)

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requested(self) -> list[str]:
        sent = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]

    def middle(self, selector: str) -> tuple[float, float]:
        """Where an element is, once it has been scrolled to."""
        self.scroll_to(selector)
        code = """const box = document.querySelector(arguments[0]).getBoundingClientRect();
                  return [box.x + box.width / 2, box.y + box.height / 2];"""
        x, y = self.run(code, selector)
        return float(x), float(y)

    def scroll_to(self, selector: str) -> None:
        """Scroll, and wait for the page to have been told of it: a tip goes away with it."""
        code = """const [selector, done] = arguments;
                  document.querySelector(selector).scrollIntoView({block: "center", behavior: "instant"});
                  requestAnimationFrame(() => requestAnimationFrame(done));"""
        self.driver.execute_async_script(code, selector)

    def point(self, selector: str, *, click: bool = False) -> None:
        x, y = self.middle(selector)
        at = {"x": x, "y": y, "pointerType": "mouse"}
        self.command("Input.dispatchMouseEvent", {"type": "mouseMoved", **at})
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.command("Input.dispatchMouseEvent", {"type": kind, **at, "button": "left", "clickCount": 1})

    def tap(self, selector: str) -> None:
        x, y = self.middle(selector)
        self.command("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        self.command("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def press(self, key: str) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13, "Tab": 9, "ArrowRight": 39, "Escape": 27}[key]
        known = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.command("Input.dispatchKeyEvent", {"type": "keyDown", **known, **text})
        self.command("Input.dispatchKeyEvent", {"type": "keyUp", **known})

    def tip(self) -> str:
        return str(self.run("const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.innerText;"))

    def eventually(self, code: str, *values: Any) -> Any:
        """What code gives when that is something, within two seconds; for what the page does by and by."""
        wait = f"""const given = [...arguments], done = given.pop(), begun = Date.now();
                  const ask = () => (function () {{ {code} }}).apply(null, given);
                  (function look() {{ const found = ask(); found || Date.now() - begun > 2000 ? done(found)
                                      : setTimeout(look, 20); }})();"""
        return self.driver.execute_async_script(wait, *values)

    def catch_copies(self) -> None:
        """A headless browser has no clipboard to look at; so the page's writing to it is noted."""
        self.run("""window.copied = []; Object.defineProperty(navigator, "clipboard", {configurable: true, value:
                    {writeText: (text) => { window.copied.push(text); return Promise.resolve(); }}});""")

    def copied(self) -> str:
        return str(self.eventually("return window.copied.at(-1);"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    outcomes = (*("complete",) * 6, "failed", "stopped", "repeat", "missing", "running")
    run = make_run(folder / "run <b>", trials=110, outcomes=outcomes, reason='<img src="http://example.invalid/x">')
    path = folder / "report.html"
    write_report([run], path, version="0", rng=np.random.default_rng(0))
    return path


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    runs = [make_run(folder / "one", trials=40), make_run(folder / "two", trials=30, seed=1)]
    runs.append(make_run(folder / "v2", trials=30, space=SPACES["efficientnetv2-s"], seed=2))
    runs.append(make_run(folder / "none", trials=0))
    path = folder / "report.html"
    write_report(runs, path, version="0", rng=np.random.default_rng(0))
    return path


@pytest.mark.parametrize("which", ["page", "several"])
def test_it_renders_without_an_error_and_asks_for_nothing_but_itself(
    browser: Browser, request: pytest.FixtureRequest, which: str
) -> None:
    path = request.getfixturevalue(which)
    browser.open(path)
    assert browser.run("return document.documentElement.classList.contains('live');"), "the script did not run"
    sections = browser.run("return [...document.querySelectorAll('main section')].map(s => s.id);")
    assert {"next", "front", "best", "course", "choices", "findings", "paths", "health", "settings"} <= set(sections)
    links = browser.run("return [...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'));")
    assert links == [f"#{name}" for name in sections]
    broken = """return [...document.querySelectorAll('svg path, svg circle, svg rect')].filter(
                  shape => /NaN|undefined|inf/.test(shape.outerHTML)).length;"""
    assert browser.run(broken) == 0
    assert browser.errors() == []
    assert [url for url in browser.requested() if not url.startswith("data:")] == [path.as_uri()]


def test_pointing_at_a_network_shows_its_stages_and_a_click_copies_its_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.catch_copies()
    assert browser.tip() == ""
    browser.point("#front .ring")
    text = browser.tip()
    assert "trial" in text
    assert "accuracy" in text
    assert "MBConv" in text
    assert browser.run("return document.querySelectorAll('#tip tbody tr').length;") >= 3
    browser.point("#front .ring", click=True)
    copied = browser.copied()
    assert copied.startswith(STEM)
    assert copied in page.read_text()
    assert browser.eventually("return document.querySelector('#said.shown')?.textContent;") == "Copied the architecture"
    browser.press("Escape")
    assert browser.tip() == ""
    assert browser.errors() == []


def test_every_dot_can_be_pointed_at(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.scroll_to("#front svg")
    at = browser.run("""const path = document.querySelector('#front .dots[data-rows]'), svg = path.closest('svg');
        const place = path.getAttribute('d').split('M')[1].split('h')[0].split(' ').map(Number);
        const there = new DOMPoint(...place).matrixTransform(svg.getScreenCTM());
        return [there.x, there.y, path.dataset.rows.split(' ')[0]];""")
    browser.command("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": at[0], "y": at[1], "pointerType": "mouse"})
    named = browser.run(
        "return JSON.parse(document.getElementById('trials').textContent).rows[arguments[0]].at(-1);", int(at[2])
    )
    assert browser.tip().startswith(named)


def test_a_tap_pins_the_tip_and_its_button_copies(browser: Browser, page: Path) -> None:
    browser.open(page, width=390, height=844, touch=True)
    browser.catch_copies()
    browser.tap("#front .ring")
    assert browser.eventually("return document.querySelector('#tip.pinned .copy')?.textContent;") == "Copy its text"
    browser.tap("#tip .copy")
    assert browser.copied().startswith(STEM)


def test_the_keyboard_reaches_the_front_and_copies(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.catch_copies()
    browser.press("Tab")  # so that the browser takes what follows for the keyboard's
    browser.run("document.querySelector('#front .ring').focus({focusVisible: true});")
    first = browser.eventually(
        "const tip = document.getElementById('tip'); return !tip.hidden && tip.querySelector('h4').textContent;"
    )
    browser.press("ArrowRight")
    second = browser.run("return document.querySelector('#tip h4').textContent;")
    assert first != second
    assert browser.run("return document.activeElement.tabIndex;") == 0
    browser.press("Enter")
    assert browser.copied().startswith(STEM)


def test_commands_are_copied(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.catch_copies()
    browser.point("#next .copy", click=True)
    assert browser.copied().startswith("nas ")


def test_an_option_brings_out_the_networks_that_take_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    option = "#paths .option[data-axis='1'][data-option='0']"
    browser.point(option, click=True)
    state = """return [...document.querySelectorAll('#paths .path')].map(
                 path => [path.dataset.options.split(' ')[1], path.classList.contains('taken')]);"""
    paths = browser.run(state)
    assert {taken for of, taken in paths if of == "0"} == {True}
    assert {taken for of, taken in paths if of != "0"} == {False}
    assert browser.run(f"return document.querySelector(\"{option}\").getAttribute('aria-pressed');") == "true"
    browser.point(option, click=True)
    assert browser.run("return document.querySelector('svg.paths').classList.contains('chosen');") is False


def test_a_heading_sorts_its_table_both_ways(browser: Browser, page: Path) -> None:
    browser.open(page)
    column = "return [...document.querySelectorAll('#best tbody tr')].map(r => Number(r.cells[1].dataset.key));"
    before = browser.run(column)
    for sign in (-1, 1):
        browser.point("#best th:nth-child(2)", click=True)
        assert browser.run(column) == sorted(before, key=lambda number: sign * number)


@pytest.mark.parametrize("which", ["page", "several"])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_nothing_is_wider_than_the_window(
    browser: Browser, request: pytest.FixtureRequest, which: str, width: int
) -> None:
    browser.open(request.getfixturevalue(which), width=width, height=844, touch=width == 390)
    browser.run("for (const fold of document.querySelectorAll('details')) fold.open = true;")
    assert browser.run("return document.documentElement.scrollWidth;") <= width
    small = """return Math.min(...[...document.querySelectorAll('svg.plot text')].map(
                 t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a));"""
    assert browser.run(small) >= 8.5, "letters on charts must be large enough to read"


def test_it_is_dark_in_the_dark(browser: Browser, page: Path) -> None:
    shades = """const light = (colour) => {
                  const [red, green, blue] = colour.match(/[\\d.]+/g).map(Number);
                  return (red + green + blue) / 765;
                };
                const style = getComputedStyle(document.body);
                const axis = getComputedStyle(document.querySelector('svg.plot .tick'));
                return [light(style.backgroundColor), light(style.color), light(axis.fill)];"""
    browser.open(page)
    ground, ink, axis = browser.run(shades)
    assert ground > 0.9 > 0.5 > max(ink, axis)
    browser.open(page, dark=True)
    ground, ink, axis = browser.run(shades)
    assert ground < 0.2 < 0.5 < min(ink, axis)


def test_it_can_be_read_without_the_script(browser: Browser, page: Path) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(page)
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", {"value": False})
    assert browser.run("return document.documentElement.classList.contains('live');") is False
    text = browser.run("return document.body.innerText;")
    assert "The best is trial" in text
    assert "nas describe" in text
    assert browser.run("return document.querySelectorAll('main svg.plot').length;") >= 5
    assert browser.run("return getComputedStyle(document.querySelector('.copy')).display;") == "none"
