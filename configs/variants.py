"""Variants that mean the same on every dataset, applied by name: configs/NAME.py:VARIANT."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from gfvad.tasks.fusion.foils import KINDS

# What the first paper says of the degree-variance regulariser on single sets (lambda, alpha, k), as
# far as it says it; what it leaves open there is as in `paper`.
REGULARISER = {
    "ped2": {"loss.variance": 1.0, "loss.variance_alpha": 0.85, "loss.variance_k": 17},
    "shanghaitech": {"loss.variance_k": 11},
    "avenue": {"loss.variance_alpha": 0.5, "loss.variance_k": 15},
    "street_scene": {"loss.variance": 1e-4, "loss.variance_alpha": 0.85, "loss.variance_k": 1},
}
EPOCHS = 40  # the paper trains for 30 to 50
# training videos of a set, by which epochs become steps; others keep their config's steps
VIDEOS = {
    "ucf_crime": 1_501,
    "xd_violence": 3_954,
    "shanghaitech": 238,
    "ped2_weak": 10,
    "msad": 98,
}


def paper(c: ConfigDict) -> None:
    """The first paper's model, training and losses; docs/fusion.md holds it against the paper line
    by line. 32 clips a video, cosine graphs with diagonal 1, full A over a random pair a step, row
    head, cross entropy of the mean of the highest units, degree variance."""
    c.data.train_units = 32
    c.data.train_sampling = "mean"
    c.data.eval_mode = "segments"
    c.data.eval_lengths = (32,)
    c.data.standardize = "none"
    c.data.text_assign = "nearest"
    c.data.clock, c.data.glances = False, ""
    plain_graphs(c)
    # one feature set has no pair to draw: its expansion is a polynomial of one graph
    several = len(c.data.modalities) > 1
    c.model.fusion.form = "full" if several else "cp"
    c.model.fusion.graphs = "random_pair" if several else "all"
    c.model.head.kind = "row"
    for term in ("unit_normal", "unit_abnormal", "consistency", "smoothness", "sparsity"):
        c.loss[term] = 0.0
    c.loss.label_smoothing = 0.0
    c.loss.topk_divisor = 10  # of 32 units 3, as in RTFM
    c.loss.variance, c.loss.variance_alpha, c.loss.variance_k = 0.1, 0.8, 11
    found = REGULARISER.get(c.data.dataset.removesuffix("_weak"), {})
    c.update_from_flattened_dict(found)
    # of the training the paper says epochs alone: the rest is RTFM's, in whose place it stands
    c.train.members = 1
    c.train.batch_size = min(64, VIDEOS.get(c.data.dataset, 64))
    if c.data.dataset in VIDEOS:
        kept = VIDEOS[c.data.dataset] * (1 - c.data.validation_fraction)
        c.train.steps = round(EPOCHS * kept / c.train.batch_size)
    c.optim.name, c.optim.schedule = "adam_coupled", "constant"
    c.optim.learning_rate, c.optim.weight_decay = 1e-3, 5e-3
    c.optim.warmup_steps, c.optim.clip_norm, c.optim.graph_rate = 0, 0.0, 1.0


def plain_graphs(c: ConfigDict) -> None:
    """Graphs, expansion and operator of the first paper, and nothing beside them."""
    relation, expansion, fusion = c.model.relation, c.model.expansion, c.model.fusion
    relation.similarity, relation.sources, relation.modalities = "cosine", ("raw",), ()
    relation.projection = relation.knn = 0
    relation.threshold = -1.0
    relation.temporal_tau = relation.temporal_seconds = 0.0
    expansion.kind, expansion.zeroth, expansion.order = "hadamard", "ones", 8
    fusion.parametrisation, fusion.start = "free", "mean"
    fusion.cross_terms, fusion.separate, fusion.orders = True, False, ()
    fusion.rank = fusion.channels = 1
    c.model.confidence = c.model.filter.modalities = ()
    c.model.modality_dropout = c.model.edge_dropout = 0.0
    c.model.bank.modality = c.model.events.modality = ""
    c.model.evidence = "trained"


def modalities(*names: str) -> Callable[[ConfigDict], None]:
    """Variant: these feature sets alone."""

    def apply(c: ConfigDict) -> None:
        c.data.modalities = names

    return apply


def foil(kind: str) -> Callable[[ConfigDict], None]:
    """Variant: fusion of features of this kind (gfvad/tasks/fusion/foils.py) in place of graphs;
    all else stays as it is."""

    def apply(c: ConfigDict) -> None:
        c.model.name = "feature_fusion"
        c.model.evidence = "trained"
        c.model.foil.kind = kind

    return apply


def comparator(c: ConfigDict, name: str) -> None:
    """Another model by its own losses alone; the data stay as they are."""
    c.model.name = name
    c.model.evidence = "trained"
    c.model.filter.modalities = c.model.confidence = ()  # fading features are what they are
    c.model.modality_dropout = 0.0
    for term in ("bce", "variance", "unit_normal", "unit_abnormal", "consistency"):
        c.loss[term] = 0.0
    c.loss.smoothness = c.loss.sparsity = 0.0
    c.train.members = 1
    c.optim.name = "adamw"  # published: Adam with decay in the gradient
    c.optim.schedule = "constant"
    c.optim.warmup_steps = 0
    c.optim.clip_norm = 0.0


def ur_dmu(c: ConfigDict) -> None:
    """UR-DMU with its published training (gfvad/tasks/fusion/comparators/ur_dmu.py)."""
    comparator(c, "ur_dmu")
    c.train.steps, c.train.batch_size = 3000, 128
    c.optim.learning_rate, c.optim.weight_decay = 1e-4, 5e-5


def rtfm(c: ConfigDict) -> None:
    """RTFM with its published training (gfvad/tasks/fusion/comparators/rtfm.py)."""
    comparator(c, "rtfm")
    c.loss.smoothness, c.loss.sparsity = 8e-4, 8e-3
    c.train.steps, c.train.batch_size = 3000, 64
    c.optim.learning_rate, c.optim.weight_decay = 1e-3, 5e-3


def hl_net(c: ConfigDict) -> None:
    """HL-Net with its published training (gfvad/tasks/fusion/comparators/hl_net.py)."""
    comparator(c, "hl_net")
    c.train.steps, c.train.batch_size = 1500, 128
    c.optim.learning_rate, c.optim.weight_decay = 1e-4, 5e-4


def de_net(c: ConfigDict) -> None:
    """DE-Net with the training that its file settles (gfvad/tasks/fusion/comparators/de_net.py)."""
    comparator(c, "de_net")
    c.train.steps, c.train.batch_size = 3000, 64
    c.optim.learning_rate, c.optim.weight_decay = 1e-4, 5e-4


def mist(c: ConfigDict) -> None:
    """MIST, its two stages in one training (gfvad/tasks/fusion/comparators/mist.py)."""
    comparator(c, "mist")
    c.train.steps, c.train.batch_size = 3000, 80
    c.optim.learning_rate, c.optim.weight_decay = 1e-4, 5e-4


def macil_sd(c: ConfigDict) -> None:
    """MACIL-SD with its published training (gfvad/tasks/fusion/comparators/macil_sd.py)."""
    comparator(c, "macil_sd")
    c.train.steps, c.train.batch_size = 1550, 128
    c.optim.learning_rate, c.optim.weight_decay = 4e-4, 0.0
    c.optim.schedule = "cosine"


COMPARATORS = {  # whole other models
    "de_net": de_net,
    "hl_net": hl_net,
    "macil_sd": macil_sd,
    "mist": mist,
    "rtfm": rtfm,
    "ur_dmu": ur_dmu,
}
FOILS = {**{f"foil_{kind}": foil(kind) for kind in KINDS}, **COMPARATORS}


def choose(
    c: ConfigDict, variant: str | None, variants: Mapping[str, Callable[[ConfigDict], None]]
) -> ConfigDict:
    """Applies variants by name, several joined by '+' from left to right.

    Raises ValueError with the valid names for an unknown one.
    """
    for name in filter(None, (variant or "").split("+")):
        if name not in variants:
            raise ValueError(
                f"no variant {name!r}; valid: {', '.join(variants)} (several joined by '+')"
            )
        variants[name](c)
    c.variant = variant or ""
    return c
