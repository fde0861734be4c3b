"""Settings of graph novelty (kind "novelty"), beside those that every task has."""

from __future__ import annotations

from gfvad.settings import shared
from gfvad.settings.declared import (
    AMOUNT,
    COUNT,
    COUNT_OR_NONE,
    UNIT,
    WIDTH,
    Range,
    Setting,
    changed,
    group,
)

POSITIVE = Range(0, 1e6, open_low=True)
UNUSED = (
    "data.text_encoder",
    "data.validation_fraction",
    "model.expansion.",
    "model.fusion.",
    "model.filter.",
    "loss.balance",
    "train.members",
)
SHARED = changed(
    [s for s in shared.SETTINGS if not s.key.startswith(UNUSED)],
    {
        "kind": {"default": "novelty", "since": ""},
        "data.dataset": {"default": "tracks"},
        "data.layout": {
            "default": "tracks",
            "choices": "gfvad.data.units.layouts.LAYOUTS",
            "meaning": "How the videos lie on disk: tracked boxes (gfvad/data/objects/tracks.py),"
            " pictures (video files and folders of images), or features (a folder of gfvad"
            " extract).",
        },
        "data.root": {"meaning": "Folder of the set; there is no stand-in."},
        "data.eval_batch_size": {
            "default": 1024,
            "meaning": "Units that are compared with the bank at once.",
        },
        "model.name": {
            "default": "novelty",
            "choices": "gfvad.tasks.novelty.registry.MODELS",
            "meaning": "The model: graph novelty, or a comparator (docs/novelty.md).",
        },
        "eval.gaussian": {"default": (5.0, 10.0)},
        "optim.learning_rate": {"default": 0.02},
        "optim.weight_decay": {"default": 0.0},
        "train.steps": {"default": 100},
        "train.batch_size": {
            "default": 256,
            "meaning": "Units a step over all devices, half of them changed.",
        },
    },
)
DATA = (
    Setting("train", "tracks_train.npz").means("Tracks of normal video, relative to root."),
    Setting("test", "tracks_test.npz", free=True).means(
        "Tracks to evaluate on, relative to root; '': none, nothing is evaluated. Of pictures:"
        " auto, the labelled test part if there is one."
    ),
    Setting("labels", "frame_labels_test.npz", free=True),
    "Labels of the frames of the test videos, relative to root.",
    Setting(
        "modalities",
        ("velocity", "aspect", "size"),
        needed=True,
        choices="gfvad.data.units.layouts.SETS",
    ),
    "Feature sets of a unit.",
    Setting("span", 16, COUNT).means("Frames before and after that a velocity is taken between."),
    Setting("window", 8, COUNT_OR_NONE),
    "Frames before and after that features are the means over.",
    Setting("camera_characters", 0, Range(0, 255)),
    "Characters of a video's name that say its camera; 0: all are of one.",
    Setting("fps", 25.0, Range(0.01, 1000), free=True),
    "Frames a second, where files do not say it.",
    Setting("spans", "", free=True, since="0.3"),
    "Ground truth of pictures, relative to root: spans of abnormal frames, 1-based, inclusive.",
    Setting("masks", "", free=True, since="0.3").means("Pixel masks, relative to root."),
    Setting("height", 64, WIDTH, since="0.3").means("Pixels that a picture is brought to, down."),
    Setting("width", 128, WIDTH, since="0.3").means("The same across."),
    Setting("pictures_a_second", 1.0, Range(0.01, 1000), since="0.3"),
    "Pictures of a second that are looked at.",
    Setting("grids", ("2x4", "4x8"), since="0.3"),
    "Rows x columns of patches that a picture is cut into, each way of cutting apart.",
    Setting("near", 2.0, POSITIVE, since="0.3"),
    "Heights of a box at which another unit of the same frame is hardly near any more (of the sets"
    " company and relative).",
    Setting("alike", 1.0, POSITIVE, since="0.3"),
    "Difference in the first feature set at which such a unit is hardly alike any more.",
)
SETTINGS = (
    *SHARED,
    *group("data", *DATA),
    *group(
        "model",
        Setting("bank", 8192, Range(16, 10**6)).means("Normal units that are kept."),
        Setting("nearest", 4, COUNT).means("Units of the bank that a unit's novelty is made from."),
        Setting("softness", 0.02, Range(0, 1e6, open_low=True)),
        "Distance at which a relation is a half, in standard deviations.",
        Setting("terms", ("velocity*aspect*size", "aspect*size", "velocity"), needed=True),
        "Joint relations, each of the feature sets that it multiplies.",
        Setting("within_camera", ("size", "place")),
        "Feature sets that are compared within one camera.",
        Setting("scales", (1.0, 1.0, 0.3), AMOUNT),
        "What each feature set counts at the start, in standard deviations.",
        Setting("window", 8, Range(1, 1024), since="0.3"),
        "Units of a track (of a place) in a row that a comparator sees at once, that which it"
        " scores in the middle; 1: it alone.",
        Setting("stride", 2, COUNT, since="0.3"),
        "Units from one of them to the next.",
        Setting("held_out", 0.1, Range(0, 0.5, open_low=True), since="0.3"),
        "Share of the training video that a comparator does not learn from: training is followed"
        " and scores are calibrated on it.",
    ),
    *group(
        "loss",
        Setting("swapped", 0.5, Range(0, 1)),
        "Share of changed units that have a feature set of another unit; the others have one that"
        " is moved.",
        Setting("stay", 1.0, AMOUNT),
        "Squares of how far scales and weights leave where they start.",
    ),
    *group(
        "score",
        Setting("reach", 100, COUNT_OR_NONE),
        "Frames of the same track, before and after, that a unit's score is a mean over.",
        Setting("prior", 50.0, AMOUNT),
        "Ordinary units that each such mean has besides: short tracks say little.",
        Setting("beside", 0.0, AMOUNT, since="0.3"),
        "Heights of a box within which units of the same frame pass messages; 0: none.",
        Setting("alike", 0.0, AMOUNT, since="0.3"),
        "Difference in the first feature set at which such units are hardly alike any more and pass"
        " none; 0: whoever is near does.",
        Setting("highest", 0.0, UNIT, since="0.3"),
        "Share of a frame's units, the most unusual ones, whose mean is its score; 0: the one.",
        Setting("false_alarms", 1.0, Range(0, 1e6, open_low=True)),
        "False alarms an hour of normal video that the threshold is made for.",
        Setting("alarm_gap", 60.0, AMOUNT, since="0.3", before=1.0),
        "Seconds below the threshold that do not end an alarm.",
        Setting("calibration_units", 60_000, COUNT),
        "Training units (whole videos, evenly chosen) that scores are calibrated on.",
        free=True,
    ),
)
