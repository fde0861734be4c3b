"""Settings of the fusion of feature sets (kind "weak"), beside those that every task has."""

from __future__ import annotations

from gfvad.settings import shared
from gfvad.settings.declared import (
    AMOUNT,
    COUNT,
    COUNT_OR_NONE,
    DEPTH,
    SHARE,
    SIGNED,
    UNIT,
    WIDTH,
    Range,
    Setting,
    changed,
    group,
)

DATA = (
    Setting("records", "", since="0.1"),
    "Folder written by `gfvad prepare --out=DIR`, used instead of root; empty: root is prepared"
    " into the cache.",
    Setting("require_real", False, free=True),
    "Missing real features are an error instead of the simulated set.",
    Setting("modalities", ("rgb", "audio"), needed=True),
    "Feature sets that are fused, by the names of the layout.",
    Setting("source_pattern", "", since="0.2"),
    "Regular expression whose first group in a training video's name is its source (scene, camera,"
    " recording); empty: the column source of labels.csv, else by clustering.",
    Setting("folds", 0, COUNT_OR_NONE, since="0.2"),
    "Layouts with folds: how many the videos are cut into, for cross-validation.",
    Setting("fold", -1, Range(-1, 10**9), since="0.2"),
    "The fold that is tested; -1: each in turn (gfvad ablate).",
    Setting("captions", ""),
    'JSON of timed sentences, relative to root; the modality "text" needs it.',
    Setting("glances", "", since="0.2"),
    "CSV name,frame of one annotated frame (0-based) of each abnormal event of training videos,"
    " relative to root; empty: video labels alone.",
    Setting("text_assign", "nearest", choices=("nearest", "decay", "overlap")),
    "A unit without a sentence takes the nearest one (nearest), the same fading with the gap in"
    " time (decay), or none (overlap).",
    Setting("on_corrupt", "error", choices=("error", "skip"), free=True, hashed=False, since="0.1"),
    "A damaged video of prepared records: an error, or left out and counted in the results (skip).",
    Setting("train_units", 200, COUNT).means("Units N of a training example."),
    Setting("train_sampling", "uniform", choices=("uniform", "window", "mean")),
    "How a longer video is cut to N: evenly spaced units (uniform), a random window, or the means"
    " of N segments (mean).",
    Setting("eval_lengths", (200, 400, 800), COUNT, free=True),
    "Static lengths of evaluation, increasing; a longer video is cut into windows of the last.",
    Setting("eval_mode", "full", choices=("full", "segments"), free=True),
    "The video's own length, padded to one of eval_lengths (full), or the means of N segments, as"
    " the row head needs (segments).",
    Setting("clock", False, since="0.1").means("Batches say when units are, in seconds."),
    Setting("standardize", "center", choices=("none", "center", "standardize")),
    "Feature statistics of the training split that are taken off.",
    *group(
        "corruption",
        Setting("at", "none", choices=("none", "train", "test", "both")),
        "Videos that are damaged on purpose (gfvad/data/corrupt.py).",
        Setting("modality", "").means("The one of data.modalities that is damaged."),
        Setting("kind", "missing", choices=("missing", "noise", "shift", "swap")),
        "The damage: all zero (missing), noise, a shift in time, or another video's features"
        " (swap).",
        Setting("amount", 0.0, SIGNED),
        "missing, swap: share of videos; noise: its deviation over the features' root mean"
        " square; shift: units, later where positive.",
        since="0.1",
    ),
    *group(
        "damage",
        Setting("modality", "text"),
        "Training: the one of data.modalities whose sentences are damaged, anew in each draw"
        " (gfvad/data/damage.py).",
        Setting("silent", 0.0, UNIT).means("Share of videos of which nothing is said."),
        Setting("dropped", 0.0, UNIT).means("Share of sentences that are left out."),
        Setting("generic", 0.0, UNIT),
        "Share of sentences that become one of a normal training video.",
        Setting("late", 0.0, UNIT).means("Share of sentences that move in time, either way."),
        Setting("late_units", 3, COUNT).means("Most units that they move."),
        Setting("filled", 0.0, UNIT),
        "Share of videos whose units that nobody described get a sentence of a normal video.",
        Setting("noise", 0.0, AMOUNT).means("Noise of each sentence's features over their length."),
        Setting("style", 0.0, AMOUNT),
        "One offset of all sentences of a video, over their length: another writer.",
        since="0.2",
    ),
    *group(
        "simulated",
        Setting("train_videos", 240, Range(4, 100_000)),
        "Training videos of the simulated set.",
        Setting("test_videos", 80, Range(4, 100_000)).means("Test videos of the simulated set."),
        Setting("seed", 11, Range(0, 2**32 - 1)).means("Seed of the simulated set."),
        Setting("crops", 5, Range(1, 10)).means("Crops a video of the simulated set."),
        Setting("units", 120, Range(1, 10_000)),
        "Longest simulated video; takes the place of train_units and eval_lengths, which are"
        " those of the real set.",
    ),
)
RELATION = (
    Setting("similarity", "cosine", choices="gfvad.graphs.relations.RELATIONS"),
    "Similarity of two units.",
    Setting("projection", 0, Range(0, WIDTH.high)),
    "Width of a learned projection before the similarity; 0: none.",
    Setting("sigma", 0.0, SIGNED),
    "Width of rbf; 0: median distance of the video; below 0: learnt.",
    Setting("threshold", -1.0, SIGNED, varies=True),
    "Edges below it are set to 0; -1 keeps all.",
    Setting("knn", 0, COUNT_OR_NONE).means("Nearest neighbours kept of each unit; 0 keeps all."),
    Setting("rows", 0, COUNT_OR_NONE, since="0.2"),
    "Graphs of more units than this are made so many rows at once and are never whole (head degree,"
    " or branches without layers and mix); 0: all graphs are whole.",
    Setting("temporal_tau", 0.0, AMOUNT),
    "Above 0 adds the graph exp(-|i-j| / tau) as a modality.",
    Setting("temporal_seconds", 0.0, AMOUNT, since="0.1"),
    "Above 0 adds exp(-|t_i-t_j| / seconds) over the units' times (needs data.clock).",
    Setting("sources", ("raw",), choices=("raw", "filtered", "residual"), needed=True),
    "Feature sets that graphs are built on.",
    Setting("modalities", (), since="0.2"),
    "Modalities that have graphs; (): all; ('none',): none, where there is a temporal graph.",
)
HEAD = (
    Setting("kind", "gnn", choices=("row", "degree", "gnn", "branches")),
    "row is of fixed N and ignores hidden; branches gives each modality a branch of its own.",
    Setting("hidden", 32, WIDTH),
    "Width of degree and gnn (row is N -> N -> 1, as in the paper).",
    Setting("layers", 1, DEPTH).means("Rounds of message passing of gnn."),
    Setting("relations", True, since="0.1"),
    "branches: one of degree statistics beside those of content.",
    Setting("gates", (), AMOUNT, varies=True, since="0.1"),
    "branches: weight of each in the sum (modalities, gnn where layers > 0, graph); () is 1 each.",
    Setting("detach", False, since="0.1").means("branches: each learns from its own loss only."),
    Setting("prior", 0.5, Range(0, 1, open_low=True, open_high=True), starts=True, since="0.1"),
    "branches: share of abnormal units that a modality's branch starts from, which is what it"
    " says of a unit that does not count.",
    Setting("absent", 0.0, SHARE, since="0.1"),
    "branches, foil late: score of a unit that does not count in a modality; 0: the branch's own"
    " learnt constant.",
    Setting("mix", 0.5, UNIT, varies=True, since="0.1"),
    "branches: share of the sum that is diffused over the fused graph.",
    Setting("whole", 0.0, UNIT, since="0.2"),
    "branches: share of a unit's evidence that is the mean over its video's; 1 for videos that are"
    " wholly of one kind.",
    Setting("spread_trained", True, since="0.2"),
    "branches: whether evidence is mixed with its video's and diffused in training too; False: only"
    " where it is scored, so that branches learn from their own units and the graph stays as it"
    " starts.",
    Setting("alpha", 0.5, SIGNED, varies=True).means("Edge threshold of the weighted degree."),
    Setting("topk", 8, COUNT).means("Neighbours in the top-k mean statistic."),
)
MODEL = (
    Setting("embed_dim", 64, WIDTH).means("Width of the content path of the gnn head."),
    Setting("dropout", 0.3, SHARE).means("On unit embeddings."),
    Setting("confidence", (), since="0.1"),
    "Modalities whose features' length, 0 to 1, says how much a unit counts (text with"
    ' data.text_assign = "decay").',
    Setting("input_dropout", 0.0, SHARE).means("On input features of the content path."),
    Setting("input_dropout_shared", False, since="0.1"),
    "The same features are dropped from all units of a video.",
    Setting("modality_dropout", 0.0, SHARE, since="0.1"),
    "Training: share of the modalities that a video does without, as wholes, never all.",
    Setting("edge_dropout", 0.0, SHARE, since="0.1"),
    "Training: share of the fused graphs' edges that the head does not see.",
    Setting("evidence", "trained", choices=("trained", "sources", "auto"), since="0.2"),
    "head branches: learnt with the rest (trained), or linear, made before training by"
    " cross-validation over sources, which also weighs them and leaves out what does not help"
    " (sources, tasks/fusion/evidence.py); auto: sources up to few_videos training videos.",
    Setting("few_videos", 400, COUNT_OR_NONE, since="0.2"),
    "Training videos up to which evidence auto is sources.",
    *group("relation", *RELATION),
    *group("head", *HEAD),
    *group(
        "bank",
        Setting("modality", "").means("Feature set whose units are compared; empty: no bank."),
        Setting("units", 4096, COUNT).means("Training units in the bank: the newest."),
        Setting("sharpness", 30.0, AMOUNT).means("Weight exp(sharpness (cosine - 1)) of each."),
        Setting("share", 0.5, AMOUNT),
        "Weight of what the bank says in the sum of evidence, where videos are scored.",
        since="0.2",
    ),
    *group(
        "events",
        Setting("modality", "").means(
            "Set of descriptions related to events in words; empty: none."
        ),
        Setting("abnormal", ()).means("Sentences of abnormal events; (): a list of our own."),
        Setting("ordinary", ()).means("Sentences of ordinary events; (): a list of our own."),
        Setting("sharpness", 10.0, AMOUNT).means("Weight exp(sharpness (cosine - 1)) of each."),
        Setting("share", 1.5, AMOUNT),
        "Weight of what they say in the sum of evidence, where videos are scored.",
        since="0.2",
    ),
    Setting("filter.modalities", ()).means("Modalities that pass through a filter; (): none."),
    *group(
        "foil",
        Setting("kind", "concat", choices="gfvad.tasks.fusion.foils.KINDS"),
        "Fusion of features where model.name is feature_fusion (gfvad/tasks/fusion/foils.py).",
        Setting("hidden", 32, WIDTH),
        "Width of the perceptron after the fusion (late has none).",
        Setting("rank", 32, WIDTH).means("bilinear: factors of the low-rank product."),
        Setting("heads", 4, WIDTH).means("cross_attention: heads, a divisor of embed_dim."),
        Setting("width", 0, Range(0, WIDTH.high)),
        "mtn: channels of each of its four branches; 0: a quarter of embed_dim, as published.",
        since="0.1",
    ),
)
LOSS = (
    Setting("topk_divisor", 16, COUNT),
    "The video score is the mean of its top max(1, n_units // divisor) units.",
    Setting("label_smoothing", 0.0, SHARE, varies=True).means("Of the labels of videos."),
    Setting("bce", 1.0, AMOUNT, varies=True, since="0.2"),
    "Multiple-instance cross entropy of the video score; 0 for a model that learns by others.",
    Setting("variance", 0.0, AMOUNT, varies=True),
    "Degree-variance regulariser lambda (paper, Eq. 7).",
    Setting("variance_alpha", 0.8, SIGNED, varies=True).means("Its edge threshold."),
    Setting("variance_k", 11, COUNT, varies=True).means("Units that it concerns."),
    Setting("smoothness", 0.0, AMOUNT, varies=True),
    "Temporal smoothness of scores (RTFM 8e-4).",
    Setting("sparsity", 0.0, AMOUNT, varies=True).means("Sparsity of scores (RTFM 8e-3)."),
    Setting("branch", 1.0, AMOUNT, varies=True, since="0.1"),
    "Multiple-instance cross entropy of each branch of the head branches by itself.",
    Setting("unit_normal", 0.0, AMOUNT, varies=True, since="0.1"),
    "Cross entropy of every unit of normal videos (and of every branch's).",
    Setting("unit_abnormal", 0.0, AMOUNT, varies=True, since="0.1"),
    "The same of abnormal videos: wrong for most units, but as a small term it starts"
    " multiple-instance learning rightly.",
    Setting("unit_abnormal_steps", 0, COUNT_OR_NONE, varies=True, since="0.1"),
    "Steps over which that term fades out; 0: it stays.",
    Setting("consistency", 0.0, AMOUNT, varies=True, since="0.1"),
    "Branches learn the fused scores of units of abnormal videos.",
    Setting("glance", 0.1, AMOUNT, varies=True, since="0.2", only_with="data.glances"),
    "Cross entropy of units that a glance (data.glances) says are abnormal.",
    Setting("glance_width", 2.0, AMOUNT, varies=True, since="0.2", only_with="data.glances"),
    "Standard deviation, in units, of how far an event may be from its glance; scores say where it"
    " is. 0: in the glance's own unit.",
    Setting("reconstruction", 1.0, AMOUNT, varies=True),
    "Filtered features predict the raw ones on normal videos (only with a filter).",
)
SETTINGS = (
    *changed(shared.SETTINGS, {"model.filter.epsilon": {"only_with": "model.filter.modalities"}}),
    *group("data", *DATA),
    *group("model", *MODEL),
    *group("loss", *LOSS),  # weight 0 switches a term off
)
