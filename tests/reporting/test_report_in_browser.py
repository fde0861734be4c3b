"""The report's page in a real browser: player, time line, keys, heat map, phone."""

import base64
import os
import shutil
import time

import numpy as np
import pytest
from media_files import write_media
from report_output import (  # noqa: F401
    HOSTILE,
    output,
    scored,
    write_output,
    write_report,
    write_run,
    written,
)

from gfvad.measure.score_result import Boxes

BROWSER, DRIVER = (
    shutil.which("chromium") or shutil.which("google-chrome"),
    shutil.which("chromedriver"),
)


# ---- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium, driven from here; nothing is fetched."""
    if not (BROWSER and DRIVER):
        pytest.skip(
            "no Chromium with its driver (Debian: apt-get install chromium chromium-driver)"
        )
    webdriver = pytest.importorskip(
        "selenium.webdriver",
        reason="selenium drives the browser: pip install -r launch/requirements-test.txt",
    )
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "autoplay-policy=no-user-gesture-required",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=DRIVER)
    )
    driver.set_script_timeout(20)
    yield driver
    driver.quit()


def emulate(browser, width, height, colours="light", mobile=False):
    """Size of the window in CSS pixels, and the colours that the system prefers."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": colours}]},
    )


def wait_for(browser, condition, what, seconds=10):
    """Until a JavaScript expression holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if browser.execute_script(f"return Boolean({condition})"):
            return
        time.sleep(0.05)
    pytest.fail(f"{what}: not within {seconds} s; console: {browser.get_log('browser')}")


def opened(browser, path, width=1360, height=900, colours="light", mobile=False):
    """Opens a page from disk and waits for its video."""
    emulate(browser, width, height, colours, mobile)
    browser.get(path.as_uri())
    return browser


def shot(browser, name):
    """A picture of the whole page, where GFVAD_SHOTS names a folder for such."""
    if folder := os.environ.get("GFVAD_SHOTS"):
        time.sleep(0.4)
        picture = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True}
        )["data"]
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{name}.png"), "wb") as file:
            file.write(base64.b64decode(picture))


def value(browser, expression):
    """Of a JavaScript expression."""
    return browser.execute_script(f"return {expression}")


VIDEO, SLIDER = "document.getElementById('video')", "document.getElementById('timeline')"


NOW = f"Number({SLIDER}.getAttribute('aria-valuenow'))"


READY = f"{VIDEO}.readyState >= 2 && !{VIDEO}.seeking"


CURSOR = "document.getElementById('cursor').getBoundingClientRect().left"


NAME = "document.getElementById('clip-name').textContent"


def press(browser, key):
    """A key on whatever has the focus."""
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(key).perform()


def no_errors(browser):
    """The console holds no warning and no error."""
    assert [
        e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")
    ] == []


def test_player_and_timeline_move_together(browser, written):
    from selenium.webdriver import ActionChains, Keys

    opened(browser, written)
    wait_for(browser, READY, "the first video is ready")
    assert value(browser, NAME) == "Straße № 1, spät"
    shot(browser, "desktop-light")
    # the timeline moves the player: a click in the middle of the axis
    browser.execute_script(f"{SLIDER}.scrollIntoView({{block: 'center'}})")
    element, across = (
        browser.find_element("id", "timeline"),
        value(browser, f"{SLIDER}.clientWidth"),
    )
    width = across - 46 - 14  # of the axis, see LEFT and RIGHT of plots.js
    ActionChains(browser).move_to_element_with_offset(
        element, round(46 + 0.5 * width - across / 2), -60
    ).click().perform()
    wait_for(
        browser,
        f"{READY} && Math.abs({VIDEO}.currentTime - 1.6) < 0.05",
        "a click on the timeline moves the video",
    )
    ActionChains(browser).click_and_hold().move_by_offset(round(0.1 * width), 0).move_by_offset(
        round(0.15 * width), 5
    ).release().perform()
    wait_for(
        browser,
        f"{READY} && Math.abs({VIDEO}.currentTime - 2.4) < 0.05",
        "dragging along it moves the video on",
    )
    assert (
        value(browser, "document.getElementById('now-text').textContent")
        == "Two people <b>run</b>."
    )
    assert "in a true event" in value(browser, "document.getElementById('now-unit').textContent")
    # the player moves the timeline
    left = value(browser, CURSOR)
    browser.execute_script(f"{VIDEO}.currentTime = 0.8")
    wait_for(browser, f"Math.abs({NOW} - 0.8) < 0.02", "seeking in the player moves the cursor")
    assert value(browser, CURSOR) == pytest.approx(left - 0.5 * width, abs=3)
    press(browser, Keys.SPACE)
    wait_for(browser, f"!{VIDEO}.paused && {NOW} > 1.2", "the cursor moves as the video plays")
    press(browser, Keys.SPACE)
    wait_for(
        browser,
        f"{VIDEO}.paused && Math.abs({NOW} - {VIDEO}.currentTime) < 0.02",
        "space pauses, both at one place",
    )
    assert not value(browser, f"{VIDEO}.muted") and value(browser, f"{VIDEO}.videoWidth") == 160
    no_errors(browser)


def test_keyboard(browser, written):
    from selenium.webdriver import Keys

    opened(browser, written)
    wait_for(browser, READY, "the first video is ready")
    for key, unit in (
        (Keys.ARROW_RIGHT, 1),
        (Keys.ARROW_RIGHT, 2),
        (Keys.ARROW_LEFT, 1),
        (Keys.HOME, 0),
        ("a", 3),
    ):
        press(browser, key)
        wait_for(
            browser,
            f"{READY} && Math.abs({NOW} - {0.64 * unit}) < 1e-3 && Math.abs({VIDEO}.currentTime -"
            f" {0.64 * unit}) < 0.05",
            f"{key!r} goes to unit {unit}",
        )
        assert value(browser, "document.getElementById('now-unit').textContent").startswith(
            f"unit {unit + 1} of 5"
        )
    matrix = value(
        browser,
        "document.getElementById('plot-graph').layout.shapes.map(s => [s.x0, s.x1, s.y0, s.y1])",
    )
    assert matrix[0] == pytest.approx([0, 3.2, 1.92, 2.56]) and matrix[1][:2] == pytest.approx(
        [1.92, 2.56]
    )
    assert len(value(browser, "Array.from(document.getElementById('plot-row').data[0].y)")) == 5
    press(browser, "+")
    wait_for(
        browser, "document.getElementById('plot-time').layout.xaxis.range[0] > 0", "+ zooms in"
    )
    press(browser, "0")
    wait_for(
        browser,
        "document.getElementById('plot-time').layout.xaxis.range[1] === 3.2",
        "0 shows the whole again",
    )
    press(browser, "?")
    assert value(browser, "document.getElementById('help').open")
    shot(browser, "desktop-help")
    press(browser, Keys.ESCAPE)
    assert not value(browser, "document.getElementById('help').open")
    press(browser, "j")
    assert value(browser, NAME) == HOSTILE and value(browser, "document.title") == "Anomaly scores"
    assert (
        "cannot be shown" in value(browser, "document.getElementById('no-video').innerText")
        and value(browser, "document.images.length") == 0
    )
    press(browser, Keys.ARROW_RIGHT)
    assert value(browser, NOW) == pytest.approx(0.64)  # the timeline moves without a video, too
    shot(browser, "desktop-no-video")
    press(browser, "j")
    wait_for(
        browser, f"{NAME} === 'corridor' && {READY}", "j goes to a folder of frames, which plays"
    )
    press(browser, "k")
    press(browser, "k")
    assert value(browser, NAME) == "Straße № 1, spät"
    press(browser, "/")
    press(browser, "corr")
    assert value(browser, "document.querySelectorAll('#videos li').length") == 1
    # what has the focus is seen
    press(browser, Keys.TAB)
    press(browser, Keys.TAB)
    assert value(browser, "getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert (
        value(
            browser,
            "[...document.querySelectorAll('button, input, select, [role=slider]')].filter(e =>"
            " !(e.textContent.trim() || e.ariaLabel)).length",
        )
        == 0
    )
    no_errors(browser)


def test_heat_map_follows_and_toggles(browser, written):
    opened(browser, written)
    wait_for(browser, READY, "the first video is ready")
    heat = "document.getElementById('heat')"
    read = (
        "const o = new OffscreenCanvas(c.width, c.height).getContext('2d', {willReadFrequently:"
        " true}); o.drawImage(c, 0, 0); const d = o.getImageData(0, 0, c.width, c.height).data;"
    )
    lit = (
        f"(c => {{ {read} let s = 0, n = 0; for (let i = 3; i < d.length; i += 4) {{ s += d[i] *"
        f" ((i >> 2) % c.width); n += d[i]; }} return s / n / c.width; }})({heat})"
    )
    wait_for(browser, f"!{heat}.hidden && {heat}.width > 100", "the heat map lies over the video")
    boxes = value(
        browser,
        f"[{heat}, {VIDEO}].map(e => (r => [r.left, r.top, r.width,"
        " r.height])(e.getBoundingClientRect()))",
    )
    assert boxes[0] == pytest.approx(boxes[1], abs=2)  # the video is as wide as its stage
    early = value(browser, lit)
    browser.execute_script(f"{VIDEO}.currentTime = 2.81")
    wait_for(browser, f"{heat}.dataset.map === '14'", "the map nearest in time is drawn")
    assert value(browser, lit) > early + 0.4
    press(browser, "h")
    assert (
        value(browser, f"{heat}.hidden")
        and value(browser, "document.getElementById('heat-toggle').getAttribute('aria-pressed')")
        == "false"
    )
    browser.find_element("id", "heat-toggle").click()
    assert not value(browser, f"{heat}.hidden")
    no_errors(browser)


def test_phone_and_dark(browser, written):
    opened(browser, written, 360, 740, "dark", mobile=True)
    wide = "document.documentElement.scrollWidth"
    assert (
        value(browser, wide) == 360
        and value(browser, "getComputedStyle(document.getElementById('clip')).display") == "none"
    )
    assert value(browser, "getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 27)"
    shot(browser, "phone-dark-list")
    browser.find_element("css selector", "#videos button").click()
    wait_for(browser, READY, "the chosen video is ready")
    assert (
        value(browser, wide) == 360
        and value(browser, "getComputedStyle(document.getElementById('overview')).display")
        == "none"
    )
    shot(browser, "phone-dark-video")
    browser.find_element("id", "theme").click()
    assert value(browser, "getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 248)"
    assert value(browser, "document.getElementById('plot-time').layout.font.color") == "#1c2430"
    shot(browser, "phone-light-video")
    browser.execute_script("scrollTo(0, 0)")
    browser.find_element("id", "back").click()
    assert value(browser, "getComputedStyle(document.getElementById('overview')).display") != "none"
    browser.find_elements("css selector", "#videos button")[1].click()
    assert value(browser, NAME) == HOSTILE and value(browser, wide) == 360
    no_errors(browser)
    opened(browser, written, colours="dark")
    wait_for(browser, READY, "the first video is ready")
    shot(browser, "desktop-dark")


def test_pages_of_runs(browser, tmp_path):
    for seed, auc in enumerate((0.71, 0.78, 0.8)):
        write_run(tmp_path / "runs" / f"seed{seed}", seed, auc)
    write_run(tmp_path / "runs" / "other", 0, 0.66, label="appearance alone")
    for name, folder in (("runs", tmp_path / "runs"), ("run", tmp_path / "runs" / "seed0")):
        path = write_report(folder, tmp_path / f"{name}.html")
        opened(browser, path)
        assert value(browser, "document.querySelectorAll('#tables tbody tr').length") > 1
        shot(browser, f"{name}-desktop")
        opened(browser, path, 360, 740, mobile=True)
        assert value(browser, "document.documentElement.scrollWidth") == 360
        shot(browser, f"{name}-phone")
    assert value(
        browser, "[...document.querySelectorAll('#videos .name')].map(e => e.textContent)"
    ) == ["one", "two"]
    no_errors(browser)


@pytest.mark.parametrize("there", [True, False])
def test_boxes_follow_the_cursor_over_the_video_or_alone(browser, tmp_path, there):
    film = write_media(tmp_path / "street.mp4", 80, size=(90, 160))
    first, highest = np.array([0, 2, 2, 4, 6, 8]), np.array([1, -1, 2, 5, 7])
    corners = np.array([[10 * i, 5, 10 * i + 8, 25] for i in range(8)], np.float64)
    boxes = Boxes((160, 90), first, corners, np.tile([3, 12], 4), np.arange(8.0), highest)
    path = film if there else tmp_path / "gone.mp4"
    page = write_report(write_output(tmp_path / "out", [scored("v", path)._replace(boxes=boxes)]))
    opened(browser, page)
    frame = "document.getElementById('boxes')"
    wait_for(browser, f"!{frame}.hidden && {frame}.width > 100", "the boxes are drawn")
    press(browser, "a")  # to the peak, unit 3
    wait_for(browser, f"{frame}.dataset.object === '12'", "the culprit of the peak is outlined")
    assert "object 12" in value(browser, "document.getElementById('now-box').textContent")
    assert "object 12" in value(browser, "document.getElementById('alarms').textContent")
    # its thick edge has the colour of alarms, where it is in the picture
    x, y = 50 / 160, 15 / 90
    colour = value(
        browser,
        f"(c => [...c.getContext('2d').getImageData({x} * c.width, {y} * c.height, 1, 1).data])"
        f"({frame})",
    )
    assert colour[0] > 200 and colour[2] < 150 and colour[3] > 200
    shot(browser, f"boxes-{there}")
    press(browser, "b")
    assert value(browser, f"{frame}.hidden")
    no_errors(browser)
