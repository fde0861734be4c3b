"""The report: what it says of scores, runs and several runs, and how its page behaves in a
browser (Chromium, where it is installed)."""

import json
import re
import sys

import numpy as np
import pytest
from media_files import tone, write_media
from report_output import (  # noqa: F401
    HOSTILE,
    output,
    scored,
    write_output,
    write_report,
    write_run,
    written,
)

from gfvad.base.types import ConfigError, DataError
from gfvad.commands import report
from gfvad.measure.results import write_scores as write_run_scores
from gfvad.reporting import clips, folders, page, runs, transcode, videos


def blocks(text):
    """name -> tree of every block of data in a page."""
    return {
        name: json.loads(body)
        for name, body in re.findall(
            r'<script type="application/json" id="([^"]+)">(.*?)</script>', text, re.S
        )
    }


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
        "v",
        np.repeat([0.2, 0.8], 10),
        np.repeat([0, 1, 0], [8, 6, 6]),
        10.0,
        clips.Raised(0.5),
        True,
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


def test_scores_of_fewer_videos_than_the_results_are_said(tmp_path, capsys):
    from gfvad.commands import report

    run = write_run(tmp_path / "run")
    write_run_scores(run / "scores.npz", {"two": np.full(50, 0.2, np.float32)})
    assert report.main([str(run)]) == 1
    assert "scores.npz: scores of 1 videos, results.json is of 2" in capsys.readouterr().err
