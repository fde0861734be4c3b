"""Settings that every task has."""

from __future__ import annotations

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
    group,
)

COMPONENTS = Range(1, 4096)

SETTINGS = (
    Setting("kind", "weak", since="0.2").means(
        "The task: weak (feature sets, labels of videos), predictive (frames of normal video) or"
        " novelty (objects of normal video)."
    ),
    Setting("variant", "", free=True).means(
        "Set by configs/NAME.py:VARIANT; part of the run's name in results."
    ),
    Setting("seed", 0, COUNT_OR_NONE, starts=True).means(
        "The run's only seed: initial parameters, shuffling, dropout, random pairs."
    ),
    *group(
        "data",
        Setting("dataset", "xd_violence").means("Name written into every result."),
        Setting("test_name", "test", free=True),
        "What results call the split that is evaluated.",
        Setting("layout", "xd_violence", choices="gfvad.data.features.layouts.LAYOUTS"),
        "How the features lie on disk.",
        Setting("root", "", free=True),
        "Folder of the features; empty: there are none on disk.",
        Setting("text_encoder", "minilm", choices="gfvad.encoders.registry.SENTENCES"),
        "Encoder of sentences; hash has no weights and is for tests.",
        Setting("validation_fraction", 0.1, Range(0, 0.5)),
        "Part of the training videos held out, stratified by label, by hash of the name.",
        Setting("eval_batch_size", 16, COUNT, free=True),
        "Videos (windows) an evaluation step over all devices.",
        Setting("cache_dir", "", free=True, hashed=False),
        "Folder of prepared records, decoded frames and embeddings; empty: $GFVAD_CACHE or"
        " ~/.cache/gfvad.",
    ),
    Setting("model.name", "graph_fusion", choices="gfvad.tasks.fusion.registry.MODELS").means(
        "What fuses: graphs, or the features themselves (feature_fusion), for comparison."
    ),
    *group(
        "model.expansion",
        Setting("kind", "hadamard", choices="gfvad.graphs.expansion.EXPANSIONS"),
        "Powers of a graph: edge by edge, of its walks, or of its diffusion.",
        Setting("order", 4, Range(1, DEPTH.high)).means("P = Q; a graph has order + 1 terms."),
        Setting("zeroth", "ones", choices="gfvad.graphs.expansion.ZEROTH"),
        "R^(0) of hadamard; walk and diffusion start at the identity.",
        Setting("restart", 0.15, UNIT).means("Restart probability a of the diffusion."),
    ),
    *group(
        "model.fusion",
        Setting("form", "cp", choices="gfvad.fusion.forms.FORMS"),
        "Coefficients: a full matrix (two graphs), an outer product, or a sum of products over"
        " all graphs (cp).",
        Setting("rank", 4, COMPONENTS).means("Components r of cp."),
        Setting(
            "parametrisation",
            "free",
            choices="gfvad.fusion.coefficients.PARAMETRISATIONS",
            varies=True,
        ),
        "Constraint on the coefficients.",
        Setting(
            "start", "mean", choices="gfvad.fusion.coefficients.STARTS", starts=True, since="0.1"
        ),
        "What coefficients start near: the mean of the graphs, or products of R_m and 1 - R_m,"
        " another one in each component (minterms).",
        Setting("graphs", "all", choices="gfvad.fusion.operator.SELECTIONS"),
        "Graphs of a training step: all, or two drawn ones, as in the paper.",
        Setting("cross_terms", True),
        "False drops every term that multiplies two different graphs (ablation).",
        Setting("separate", False, since="0.1"),
        "With cross_terms False: channel g is a polynomial of graph g alone (ablation).",
        Setting("channels", 1, COMPONENTS),
        "Fused graphs G, each with an operator of its own.",
        Setting("orders", (), Range(1, DEPTH.high), since="0.2"),
        "Highest power of each graph where they differ, as (P, Q), each at most expansion.order;"
        " full and outer have two, cp one for each graph. (): expansion.order for all.",
    ),
    *group(
        "model.filter",
        Setting("experts", 63, WIDTH).means("Routed experts E."),
        Setting("topk", 7, WIDTH).means("Experts kept for a unit."),
        Setting("bottleneck", 8, WIDTH).means("Width b inside an expert."),
        Setting("scale", 2.0, SIGNED).means("Factor on the renormalised router weights."),
        Setting("epsilon", 1e-5, AMOUNT, since="0.2", before=1e-6),
        "Added to the variance in the experts' LayerNorms; the authors' value.",
    ),
    Setting("loss.balance", 0.001, AMOUNT, varies=True).means("Expert balance of the filters."),
    *group(
        "optim",
        Setting("name", "adamw", choices=("adamw", "adam", "adam_coupled", "sgd")),
        "Optimiser.",
        Setting("learning_rate", 1e-3, Range(0, 1e30, open_low=True), varies=True),
        "Learning rate.",
        Setting("graph_rate", 1.0, AMOUNT, varies=True, since="0.1"),
        "Factor on the learning rate of the fusion coefficients.",
        Setting("schedule", "cosine", choices=("constant", "cosine")),
        "Of the learning rate: constant, or cosine to 0 over train.steps.",
        Setting("warmup_steps", 20, COUNT_OR_NONE).means("Steps of linear warm-up."),
        Setting("weight_decay", 0.01, AMOUNT, varies=True).means(
            "Weight decay: decoupled (adamw), or added to the gradient (adam_coupled)."
        ),
        Setting("clip_norm", 1.0, AMOUNT, varies=True),
        "Largest global gradient norm; 0: no clipping.",
    ),
    *group(
        "train",
        Setting("steps", 600, COUNT).means("Optimiser steps."),
        Setting("members", 1, Range(1, 1000), since="0.1"),
        "Models trained side by side on the same batches, from different starts; the score is the"
        " mean of theirs.",
        Setting("batch_size", 64, COUNT),
        "Videos a step over all devices, half normal, half abnormal.",
        Setting("log_every", 20, COUNT, free=True, hashed=False),
        "Steps between lines of the log.",
        Setting("eval_every", 100, COUNT, free=True),
        "Steps between evaluations on the held-out training videos.",
        Setting("checkpoint_every", 100, COUNT, free=True).means("Steps between checkpoints."),
        Setting("keep", 2, COUNT, free=True),
        "Last checkpoints kept; the best one on held-out videos is kept besides.",
    ),
    *group(
        "eval",
        Setting("metric", "auc", choices=("auc", "ap")).means("Headline metric."),
        Setting("every_on_test", False),
        "Also follow the test split while training, for the best-on-test extra only.",
        Setting("ema", (0.9,), SHARE).means("Decays of the causal exponential average."),
        Setting("gaussian", (5.0,), Range(0.01, 1e4)),
        "Widths of the Gaussian smoothing, in frames.",
        Setting("bootstrap", 1000, COUNT_OR_NONE).means("Resamples over videos for ci95; 0: none."),
        Setting("figures", True, hashed=False).means(
            "Whether figures are drawn, and said what the highest score comes from."
        ),
        free=True,
    ),
    *group(
        "parallel",
        Setting("backend", "pmap", choices=("pmap", "shard_map")),
        "How steps are mapped over devices; the numbers are the same.",
        Setting("devices", 0, COUNT_OR_NONE).means("Local devices used; 0: all."),
        Setting("model", 1, COUNT, since="0.3"),
        "Devices that hold one copy of the parameters together (shard_map); 1: each its own.",
        free=True,
    ),
)
