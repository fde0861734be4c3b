"""The report: what it says of scores, runs and several runs, and how its page behaves in a
browser (Chromium, where it is installed)."""

import base64
import json
import os
import re
import shutil
import sys
import time

import numpy as np
import pytest
from media_files import tone, write_media
from video_files import write_frames

from gfvad.base.types import ConfigError, DataError
from gfvad.commands import report
from gfvad.measure.results import write_scores as write_run_scores
from gfvad.measure.score_result import VideoScores
from gfvad.reporting import clips, folders, page, runs, transcode, videos
from gfvad.reporting.page import make_report
from gfvad.scoring.files import write_scores

HOSTILE = (
    "<img src=x"
    " onerror=\"document.title='owned'\">'&amp;</script><script>document.title='owned'</script> 😀"
)
BROWSER, DRIVER = (
    shutil.which("chromium") or shutil.which("google-chrome"),
    shutil.which("chromedriver"),
)


def write_report(*arguments, **options):
    """The path of a page."""
    return make_report(*arguments, **options)[0]


def scored(name, path="", n=5, length=0.64, peak=3, high=0.9, **more):
    """A video of n units of `length` seconds whose score rises to `high` at unit `peak`."""
    start = np.arange(n) * length
    score = high * np.exp(-0.5 * (np.arange(n) - peak) ** 2)
    parts = {
        "motion": 2 * score - 0.5,
        "appearance": 0.3 - score,
        "audio": np.linspace(-0.2, 0.4, n),
    }
    return VideoScores(
        name, str(path), 25.0, int(n * length * 25), start, start + length, score, parts, **more
    )


def write_output(folder, found, failed=(), threshold=0.5, kind="weak"):
    """A folder of scores."""
    write_scores(
        folder,
        {
            "kind": kind,
            "name": "a model",
            "path": "",
            "modalities": ["motion", "audio"],
            "threshold_rule": "95% stay below",
        },
        threshold,
        found,
        failed,
    )
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Scores of a video with sound, graph, heat maps, truth and sentences; a folder of frames; a
    damaged file under a hostile name; a file that failed."""
    root = tmp_path_factory.mktemp("report")
    street = write_media(
        root / "films" / "Straße № 1, spät.mp4", 80, size=(90, 160), sound=tone(3.2)
    )
    corridor = write_frames(root / "films" / "corridor", 12, size=(120, 90))
    damaged = root / "films" / "damaged.mp4"
    damaged.write_bytes(street.read_bytes()[:900])
    rng = np.random.default_rng(0)
    heat = np.zeros((16, 6, 10), np.uint8)
    heat[np.arange(16), 3, np.minimum(np.arange(16) // 2, 9)] = 255
    street = scored(
        "Straße № 1, spät",
        street,
        graph=np.abs(rng.normal(size=(5, 5))).astype(np.float32),
        heat=heat,
        heat_time=np.arange(16) / 5,
        spans=((1.5, 2.6),),
        label=1,
        descriptions=((0.0, "A street, nobody in it."), (1.6, "Two people <b>run</b>.")),
        missing=("text",),
    )
    corridor = scored(
        "corridor",
        corridor,
        n=3,
        length=0.4,
        peak=1,
        high=0.2,
        spans=(),
        label=0,
        graph=np.eye(3, dtype=np.float32),
    )
    return write_output(
        root / "scores",
        [corridor, scored(HOSTILE, damaged, high=0.7), street],
        [("/films/noise.mp4", "/films/noise.mp4: not a readable video <b>")],
    )


def blocks(text):
    """name -> tree of every block of data in a page."""
    return {
        name: json.loads(body)
        for name, body in re.findall(
            r'<script type="application/json" id="([^"]+)">(.*?)</script>', text, re.S
        )
    }


@pytest.fixture(scope="module")
def written(output):
    """The page of `output`."""
    return write_report(output)


# ---- without a browser


def test_page_holds_all_and_is_sorted_by_peak(written, output):
    assert written == output / "report.html"
    text = written.read_text(encoding="utf-8")
    found = blocks(text)
    whole = found["whole"]
    assert [v["name"] for v in whole["videos"]] == ["Straße № 1, spät", HOSTILE, "corridor"]
    first = whole["videos"][0]
    assert (
        first["peak"] == pytest.approx(0.9)
        and first["peak_time"] == pytest.approx(2.24)
        and first["alarms"] == 1
        and first["label"] == 1
    )
    assert max(first["spark"]) == pytest.approx(0.9) and whole["failed"] == [
        ["/films/noise.mp4", "/films/noise.mp4: not a readable video <b>"]
    ]
    street, hostile, corridor = (found[f"clip-{v['id']}"] for v in whole["videos"])
    assert street["alarms"] == [
        {"start": 1.28, "end": 3.2, "peak": 0.9, "peak_time": pytest.approx(2.24)}
    ] and street["spans"] == [[1.5, 2.6]]
    assert (
        street["graph"]["size"] == 5
        and street["heat"]["rows"] == 6
        and street["heat"]["columns"] == 10
        and street["missing"] == ["text"]
    )
    assert [c["player"]["kind"] for c in (street, hostile, corridor)] == [
        "embedded",
        "none",
        "embedded",
    ]
    assert (
        "cannot be shown" in hostile["player"]["note"]
        and "damaged.mp4" in hostile["player"]["note"]
    )


def test_page_asks_nothing_of_a_network_and_is_escaped(written):
    text = written.read_text(encoding="utf-8")
    # plotly's own source names addresses it does not visit
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", own) and "@import" not in own
    assert (
        "default-src 'none'" in text
        and "unsafe-inline'; img-src" in text
        and "connect-src" not in text
    )
    assert "<img src=x" not in own and text.count("</html>") == 1
    assert page.block("x", {"a": "</script><!-- \u2028 &"}).count("<") == 2


def test_transcoded_video_plays_everywhere(tmp_path):
    import av

    path = write_media(tmp_path / "large.mp4", 30, size=(720, 1280), sound=tone(1.2))
    content = transcode.to_mp4(path)
    (tmp_path / "small.mp4").write_bytes(content)
    with av.open(str(tmp_path / "small.mp4")) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.codec_context.name, video.pix_fmt) == (
            640,
            360,
            "h264",
            "yuv420p",
        ) and sound.codec_context.name == "aac"
        times = [float(f.pts * f.time_base) for f in container.decode(video)]
    np.testing.assert_allclose(times, np.arange(30) / 25, atol=1e-3)
    with pytest.raises(transcode.TooLarge):
        transcode.to_mp4(path, room=len(content) // 2)
    uneven = write_media(tmp_path / "uneven.mp4", 4, times=[0, 40, 400, 1000])
    (tmp_path / "again.mp4").write_bytes(transcode.to_mp4(uneven))
    with av.open(str(tmp_path / "again.mp4")) as container:
        assert not container.streams.audio
        np.testing.assert_allclose(
            [float(f.pts * f.time_base) for f in container.decode(video=0)],
            [0, 0.04, 0.4, 1.0],
            atol=1e-3,
        )


def test_sound_is_in_step():
    from gfvad.encoders.units import RATE, Sound

    late = transcode.aligned(Sound(0.5, np.ones(4, np.float32)), 0)
    assert len(late) == RATE // 2 + 4 and not late[: RATE // 2].any() and late[-1] == 1
    np.testing.assert_array_equal(
        transcode.aligned(Sound(0.0, np.arange(4, dtype=np.float32) / 4), 2), [0.5, 0.75]
    )
    assert len(transcode.aligned(Sound(-1.0, np.ones(4, np.float32)), 0)) == 0


def test_embed_link_and_room(output, tmp_path):
    linked = blocks(
        write_report(output, tmp_path / "a page" / "linked.html", videos="link").read_text(
            encoding="utf-8"
        )
    )
    kinds = {
        linked[f"clip-{v['id']}"]["name"]: linked[f"clip-{v['id']}"]["player"]
        for v in linked["whole"]["videos"]
    }
    street, corridor = kinds["Straße № 1, spät"], kinds["corridor"]
    assert street["kind"] == "linked" and street["src"].endswith(
        "films/Stra%C3%9Fe%20%E2%84%96%201%2C%20sp%C3%A4t.mp4"
    )
    assert (
        corridor["src"] == "linked_videos/corridor.mp4"
        and (tmp_path / "a page" / "linked_videos" / "corridor.mp4").is_file()
    )
    full = write_report(output, tmp_path / "full.html", max_video_mb=0)
    assert 'type="text/plain"' not in full.read_text(
        encoding="utf-8"
    ) and "max-video-mb" in full.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="--videos=all"):
        write_report(output, tmp_path / "x.html", videos="all")


def test_videos_found_by_name(tmp_path):
    write_media(tmp_path / "films" / "day" / "one.mp4", 5)
    write_media(tmp_path / "films" / "night" / "one.mp4", 5)
    write_media(tmp_path / "films" / "two.mp4", 5)
    found = folders.names_below(tmp_path / "films")
    assert (
        found["two"].name == "two.mp4"
        and found["one"] is None
        and found["day__one"].parent.name == "day"
    )
    folder = write_output(
        tmp_path / "scores", [scored("day__one"), scored("one"), scored("two", "/gone/two.mp4")]
    )
    contents = folders.read_folder(folder, tmp_path / "films")
    assert [source.path and source.path.name for source in contents.sources] == [
        "one.mp4",
        None,
        "two.mp4",
    ]
    out = tmp_path / "report.html"
    place = videos.Place(out, tmp_path, page.owned(out), "auto", 100.0)
    player = videos.player("one", contents.sources[1], place, 1e9)
    assert player.kind == "none" and "--video-root" in player.note
    with pytest.raises(DataError, match="no such folder"):
        folders.names_below(tmp_path / "nowhere")


def test_graph_and_heat_are_kept_small():
    graph = clips.graph_of(np.random.default_rng(0).random((700, 700)))
    assert graph["size"] == clips.GRAPH_SIDE and graph["units"] == 700
    heat = clips.heat_of(np.zeros((3000, 60, 80), np.uint8), np.arange(3000) / 10)
    assert len(heat["time"]) * 60 * 80 <= clips.HEAT_BYTES and heat["time"][1] == pytest.approx(0.4)
    assert (
        clips.graph_of(np.zeros((0, 0))) is None
        and clips.heat_of(np.zeros((2, 3, 3), np.uint8), None) is None
    )
    spark = clips.pooled(np.eye(1, 5000, 4321)[0], np.arange(5000), np.arange(1, 5001))
    assert len(spark) == clips.SPARKS and spark.max() == 1


def test_damaged_details_do_not_stop_the_report(tmp_path):
    folder = write_output(tmp_path / "scores", [scored("one", graph=np.eye(5, dtype=np.float32))])
    (folder / "details" / "one.npz").write_bytes(b"no archive")
    clip = folders.read_folder(folder).clips[0]
    assert clip["graph"] is None and "one.npz" in clip["notes"][0]


@pytest.mark.parametrize(
    "change, wanted",
    [
        ({"format": 9}, "format 9, expected 1"),
        ({"videos": [{"name": "v", "start": [0], "end": [1]}]}, "'v' lacks score"),
        ({"videos": [{"name": "v", "start": [0], "end": [1], "score": [1, 2]}]}, "2 scores but"),
    ],
)
def test_damaged_scores(tmp_path, change, wanted):
    folder = write_output(tmp_path / "scores", [scored("one")])
    tree = json.loads((folder / "scores.json").read_text()) | change
    (folder / "scores.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match=wanted):
        write_report(folder)


def test_errors_name_what_was_looked_for(tmp_path, capsys, monkeypatch):
    assert report.main([str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("x")
    assert report.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "scores.json" in error and "results.json" in error and "notes.txt" in error
    folder = write_output(tmp_path / "scores", [scored("one")])
    assert report.main([str(folder), f"--out={tmp_path / 'notes.txt' / 'x.html'}"]) == 2
    assert "cannot be written" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert report.main([str(folder)]) == 2
    assert "launch/requirements-report.txt" in capsys.readouterr().err


def write_run(folder, seed=0, value=0.8, label="motion + <audio>"):
    """A run's results.json and scores.npz."""
    folder.mkdir(parents=True)
    record = {
        "metric": "auc",
        "aggregation": "micro",
        "normalisation": "none",
        "smoothing": "none",
        "checkpoint": "last",
        "value": value,
        "ci95": [0.7, 0.9],
        "n_videos": 2,
        "n_frames": 130,
    }
    (folder / "results.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "dataset": "own",
                "split": "test",
                "ground_truth_frames": 130,
                "n_videos": 2,
                "seed": seed,
                "config_hash": "c",
                "code_version": "v",
                "device": "cpu",
                "wall_seconds": 3.0,
                "group": label,
                "label": label,
                "headline": record,
                "records": [record, record | {"metric": "ap"}, record | {"smoothing": "gaussian5"}],
                "extras": [],
            }
        )
    )
    write_run_scores(
        folder / "scores.npz",
        {
            "one": np.repeat([0.1, 0.9, 0.3], [32, 16, 32]).astype(np.float32),
            "two": np.full(50, 0.2, np.float32),
        },
    )
    return folder


def test_run_folder(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "calibration.json").write_text(
        json.dumps({"step": 1, "threshold": 0.5, "rule": "a rule"})
    )
    write_media(tmp_path / "films" / "two.mp4", 50)
    found = blocks(write_report(run, video_root=tmp_path / "films").read_text(encoding="utf-8"))
    whole = found["whole"]
    assert (
        whole["kind"] == "run"
        and "AUC 0.8000" in whole["facts"][0][1]
        and whole["tables"][0]["marked"] == 0
        and len(whole["tables"][0]["rows"]) == 2
    )
    one, two = (found[f"clip-{v['id']}"] for v in whole["videos"])
    assert (one["unit"], one["start"], one["end"], one["alarms"][0]["start"]) == (
        "frame",
        [0, 32, 48],
        [32, 48, 80],
        32,
    )
    assert one["player"]["kind"] == "none" and one["spans"] is None
    assert (two["unit"], two["duration"], two["player"]["kind"]) == ("s", 2.0, "embedded")


def test_frames_with_labels():
    clip = runs.frames_clip(
        "v", np.repeat([0.2, 0.8], 10), np.repeat([0, 1, 0], [8, 6, 6]), 10.0, 0.5, True
    )
    assert (
        clip["spans"] == [[0.8, 1.4]]
        and clip["label"] == 1
        and clip["alarms"][0]["start"] == 1.0
        and clip["duration"] == 2.0
    )


def test_an_ablation(tmp_path):
    """Its tables with the tests, its values by setting and seed; of whichever task."""
    (tmp_path / "ablation.md").write_text(
        "# Ablation sweep: ped2, test\n\nBase: `base`.\n\n## AUC\n\n"
        "| setting | seeds | difference |\n| --- | --- | --- |\n"
        "| **`base`** (base) | 2 |  |\n| `flat` | 2 | -0.1000 |\n\n"
        "## Settings\n\n- `flat`: no flow\n"
    )
    head = "setting,seed,metric,aggregation,normalisation,smoothing,checkpoint,value\n"
    plain = "auc,micro,none,none,last"
    (tmp_path / "ablation.csv").write_text(
        f"{head}base,0,{plain},0.8\nbase,1,{plain},0.9\nflat,0,{plain},0.7\n"
        "flat,1,auc,micro,minmax,none,last,0.1\n"
    )
    found = folders.read_folder(tmp_path)
    assert found.kind == "runs" and ("dataset", "ped2, test") in found.facts
    assert [t["title"] for t in found.tables] == ["AUC"]
    assert found.tables[0]["rows"] == [["base (base)", "2", ""], ["flat", "2", "-0.1000"]]
    assert [(s["label"], s["seeds"], s["values"]) for s in found.settings] == [
        ("base", [0, 1], [0.8, 0.9]),
        ("flat", [0], [0.7]),
    ]
    (tmp_path / "ablation.csv").write_text("setting,seed\n")
    with pytest.raises(DataError, match=r"ablation\.csv"):
        folders.read_folder(tmp_path)


def test_several_runs(tmp_path):
    for seed, value in enumerate((0.7, 0.8, 0.9)):
        write_run(tmp_path / "runs" / f"seed{seed}", seed, value)
    write_run(tmp_path / "runs" / "other", 0, 0.6, label="other")
    whole = blocks(
        write_report(tmp_path / "runs", tmp_path / "all.html").read_text(encoding="utf-8")
    )["whole"]
    assert whole["kind"] == "runs" and not whole["videos"]
    assert ["own", "motion + <audio>", "3", "0.8000 ± 0.1000", "0.8000 ± 0.1000"] in whole[
        "tables"
    ][0]["rows"]
    assert sorted(row[0] for row in whole["tables"][-1]["rows"]) == [
        "other",
        "seed0",
        "seed1",
        "seed2",
    ]
    assert {s["label"]: s["values"] for s in whole["settings"] if s["metric"] == "AUC"} == {
        "motion + <audio>": [0.7, 0.8, 0.9],
        "other": [0.6],
    }


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


def test_scores_of_fewer_videos_than_the_results_are_said(tmp_path, capsys):
    from gfvad.commands import report

    run = write_run(tmp_path / "run")
    write_run_scores(run / "scores.npz", {"two": np.full(50, 0.2, np.float32)})
    assert report.main([str(run)]) == 1
    assert "scores.npz: scores of 1 videos, results.json is of 2" in capsys.readouterr().err
