"""Settings of the prediction of frames (kind "predictive"), beside those that every task has."""

from __future__ import annotations

from gfvad.settings import shared
from gfvad.settings.declared import AMOUNT, COUNT, DEPTH, WIDTH, Range, Setting, changed, group

SMOOTHED = Range(1, 10_000)
EVENTS = ("pace", "object", "left", "place", "lights", "slow", "reversed")

SHARED = changed(
    shared.SETTINGS,
    {
        "kind": {"default": "predictive", "since": ""},
        "data.dataset": {"default": "ped2"},
        "data.layout": {
            "default": "frames",
            "meaning": "How the videos lie on disk: frames (training/frames/01/000.jpg), ucsd"
            " (Train/Train001/001.tif), videos (training/videos/*), or found out (auto).",
            "choices": "gfvad.data.frames.video_folders.LAYOUTS",
        },
        "data.root": {"meaning": "Folder of the set; there is no stand-in."},
        "data.validation_fraction": {
            "default": 0.2,
            "meaning": "Part of the training videos held out, by hash of the name: scores are"
            " calibrated and weighted on them; 0 (with score.weights): none, and those that are"
            " learnt from stand for them.",
            "range": Range(0, 0.5),
        },
        "data.eval_batch_size": {"meaning": "Clips an evaluation step over all devices."},
        "model.name": {
            "default": "predictive",
            "meaning": "The model.",
            "choices": "gfvad.tasks.prediction.registry.MODELS",
        },
        "model.expansion.order": {"default": 2, "range": DEPTH},
        "model.fusion.rank": {"default": 2},
        "optim.learning_rate": {"default": 2e-3},
        "optim.weight_decay": {"default": 1e-5},
        "train.steps": {"default": 300},
        "train.members": {"since": "0.2"},
        "train.batch_size": {"default": 8, "meaning": "Clips a step over all devices."},
        "train.eval_every": {"default": 200},
    },
)
DATA = (
    Setting("height", 120, WIDTH).means("Frames are resized to height x width."),
    Setting("width", 180, WIDTH).means("See height."),
    Setting("resize", "area", choices=("area", "bicubic"), since="0.2"),
    "How: means over areas, or bicubic as Pillow has it.",
    Setting("channels", 1, choices=(1, 3)).means("1: grey; 3: RGB."),
    Setting("clip_frames", 4, Range(2, DEPTH.high)).means("Frames that a prediction is made from."),
    Setting("stride", 1, COUNT).means("Frames between the frames of a clip."),
    Setting("store", "memmap", choices=("memmap", "direct"), free=True),
    "Frames are decoded once into the cache (memmap), or on demand (direct: no disk, slower).",
    Setting("workers", 2, COUNT, free=True).means("Threads that decode."),
    Setting("flow", True),
    "Optical flow (OpenCV DIS) as a further motion input, target and score.",
    Setting("flow_cell", 8, WIDTH),
    "Flow is kept as means over cells of that many pixels of the original frame.",
    Setting("train_descriptions", ""),
    "JSON lines of descriptions, relative to root; empty: the model goes without text.",
    Setting("test_descriptions", "").means("The same of the test videos."),
    Setting("clip_text", "mean", choices=("mean", "last"), since="0.2"),
    "What a clip reads and predicts: the mean of its frames' embeddings and the next frame's, or"
    " twice that of the last frame before the predicted one (as the authors' model).",
    Setting("vision", "patches"),
    "Encoder of frames: patches (trained here), tokens:FOLDER or transformers:FOLDER (frozen, see"
    " docs/data.md).",
    Setting("test", "labelled", choices=("labelled", "auto", "none"), free=True, since="0.2"),
    "The test part: labelled (must be there, with ground truth), auto (evaluated where it is there"
    " with ground truth; a folder of videos without parts is normal video), none (nothing is"
    " evaluated).",
    Setting("spans", "", free=True),
    "Ground truth, relative to root: spans of abnormal frames, 1-based, inclusive.",
    Setting("masks", "", free=True).means("Pixel masks, relative to root."),
)
FILTER = (
    Setting("kind", "sffm", choices="gfvad.nn.filters.FILTERS"),
    "The filter; bottleneck is one expert without routing, memae and mnad are memories.",
    Setting("form", "auto", choices=("auto", "loop", "folded", "grouped", "blocks")),
    "How the experts are evaluated; the numbers are the same.",
    Setting("memory_items", 0, Range(0, WIDTH.high)),
    "Memory items; 0: as in the kind's own paper (memae 2000, mnad 10).",
    Setting("shrink", 1.0, AMOUNT).means("Hard-shrinkage threshold in units of 1 / items (memae)."),
)
MODEL = (
    Setting("patch", 12, WIDTH),
    "Side of a patch (token) in pixels; divides height and width.",
    Setting("cell", 4, WIDTH).means("Side of a cell of score maps in pixels; divides patch."),
    Setting("width", 128, WIDTH).means("Width D of a token."),
    Setting("heads", 4, WIDTH).means("Attention heads."),
    Setting("mlp", 2, WIDTH).means("Width of the feed-forward part, in D."),
    Setting("vision_layers", 1, DEPTH),
    "Transformer layers of the trained patch encoder, per frame.",
    Setting("motion", True).means("The motion encoder, over frame differences (and flow)."),
    Setting("motion_layers", 1, DEPTH).means("Its layers."),
    Setting("joint_layers", 2, DEPTH).means("Layers of gated cross-attention to text and motion."),
    Setting("decoder_layers", 2, Range(1, DEPTH.high)).means("Pairs of a block and a filter."),
    Setting("flow_input", False),
    "The flow into the input frames is an input too; else it is a target and a score alone.",
    Setting("flow_from", "frame", choices=("frame", "joint")),
    "What the next flow is predicted from: the last frame alone (how what is seen usually moves),"
    " or the decoder (joint).",
    Setting("skip", "frame", choices=("patch", "frame", "none")),
    "What goes around the filters to the pixel head: embeddings of the last frame's patches"
    " (patch, as in the paper), the frame itself, or nothing.",
    Setting("pixel_width", 8, WIDTH),
    "Channels of the two small convolutions of the pixel head.",
    Setting("text_hidden", 256, WIDTH).means("Hidden width of the text head."),
    Setting("pace", True),
    "A small network that tells the normal pace from a faster one, trained on normal video played"
    " faster.",
    Setting("pace_flow", True, since="0.1", before=False),
    "With data.flow it sees the flow too; a faster clip has its flow times the gap between its"
    " last frames.",
    Setting("pace_width", 64, Range(2, WIDTH.high)),
    "Its channels; half of it in the first layer.",
    Setting("relation_bias", True),
    "The fused graph of token relations biases the decoder's attention.",
    *group("filter", *FILTER),
)
LOSS = (
    Setting("frame", 1.0, AMOUNT, varies=True),
    "Mean squared error of the next frame, pixels in [-1, 1].",
    Setting("text", 1.0, AMOUNT, varies=True).means("1 - cosine of the next description."),
    Setting("contrast", 1.0, AMOUNT, varies=True),
    "The prediction must be nearer the next frame than the last one is (motion frame-difference"
    " contrast).",
    Setting("flow", 0.1, AMOUNT, varies=True),
    "Squared error of the next flow, in pixels a frame.",
    Setting("pace", 1.0, AMOUNT, varies=True).means("Cross entropy of the pace network."),
    Setting("pace_motion", 0.02, AMOUNT, varies=True),
    "Mean absolute frame difference (pixels in 0..1) above which a cell counts as moving.",
    Setting("pace_still", 0.1, AMOUNT, varies=True).means("Weight of cells that do not move."),
    Setting("pace_fastest", 4, Range(2, DEPTH.high)),
    "A clip is played faster by frame gaps of 1 to that many.",
)
SCORE = (
    Setting(
        "terms",
        ("appearance", "pace", "speed", "semantic", "bank"),
        choices="gfvad.tasks.prediction.score_terms.TERMS",
        needed=True,
    ),
    "Terms of the score, of those that the model has; flow too, which sees what speed sees, and"
    " relation.",
    Setting("weights", (), AMOUNT),
    "One a term; () are chosen on held-out normal video and perturbations of it.",
    Setting("spatial", 3, SMOOTHED).means("Maps are averaged over that many cells square."),
    Setting("temporal", 13, SMOOTHED).means("And the median is taken over that many frames."),
    Setting("text_frames", 15, SMOOTHED),
    "Residuals of descriptions are averaged over that many frames.",
    Setting("causal", False),
    "Windows end at the frame (streaming) instead of being centred at it.",
    Setting("ridge", 1e-3, AMOUNT).means("Added to the variances of the semantic residual."),
    Setting("weighting", "skill", choices=("skill", "grid"), since="0.2", before="grid"),
    "How they are chosen: each term by the kind of event that it sees best (skill), or all of them"
    " together by all events (grid).",
    Setting("perturbations", 8, SMOOTHED).means("Perturbed copies of each held-out video."),
    Setting("events", EVENTS[:5], choices=EVENTS, needed=True, since="0.2", before=EVENTS[:2]),
    "Kinds of synthetic events in them.",
    Setting("paper_weights", (0.8, 0.2), AMOUNT, since="0.2"),
    "Authors' protocol, which is reported beside the headline: weights of frame and description.",
    Setting("paper_sigma", 5.0, Range(0.01, 1e4), since="0.2"),
    "Authors' protocol: width of the Gaussian smoothing, in frames.",
    Setting("paper_min_max", True, since="0.2"),
    "Authors' protocol: each term is brought to 0..1 within each video.",
    Setting("floors", True, since="0.1"),
    "The scores of optical flow alone are computed beside the model's.",
    Setting("clip_seconds", 6.0, AMOUNT).means("Length of the annotated mp4."),
)
SETTINGS = (
    *SHARED,
    *group("data", *DATA),
    *group("model", *MODEL),
    *group("loss", *LOSS),
    *group("score", *SCORE, free=True),
)
