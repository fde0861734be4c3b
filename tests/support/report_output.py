"""An output of scoring with a hostile name, and its report."""

import json

import numpy as np
import pytest
from media_files import tone, write_media
from video_files import write_frames

from gfvad.measure.results import write_scores as write_run_scores
from gfvad.measure.score_result import VideoScores
from gfvad.reporting.page import make_report
from gfvad.scoring.files import write_scores

HOSTILE = (
    "<img src=x"
    " onerror=\"document.title='owned'\">'&amp;</script><script>document.title='owned'</script> 😀"
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


@pytest.fixture(scope="module")
def written(output):
    """The page of `output`."""
    return write_report(output)


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
