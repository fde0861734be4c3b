"""Variants that mean the same on every dataset, applied by name: configs/NAME.py:VARIANT."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from gfvad.tasks.fusion.foils import KINDS


def paper(c: ConfigDict) -> None:
    """The first paper's plain form: 32 clips a video, cosine graphs, full A over random pairs,
    row head, degree variance."""
    c.data.train_units = 32
    c.data.train_sampling = "mean"
    c.data.eval_mode = "segments"
    c.data.eval_lengths = (32,)
    c.data.standardize = "none"
    c.model.relation.temporal_tau = c.model.relation.temporal_seconds = 0.0
    c.model.expansion.kind = "hadamard"
    c.model.expansion.order = 8
    # one feature set has no pair to draw: its expansion is a polynomial of one graph
    several = len(c.data.modalities) > 1
    c.model.fusion.form = "full" if several else "cp"
    c.model.fusion.rank = 1
    c.model.fusion.graphs = "random_pair" if several else "all"
    c.model.fusion.channels = 1
    c.model.fusion.start = "mean"
    c.model.expansion.zeroth = "ones"
    c.model.relation.threshold = -1.0
    c.model.confidence = ()
    c.loss.unit_normal = c.loss.unit_abnormal = c.loss.consistency = 0.0
    c.train.members = 1
    c.model.head.kind = "row"
    c.model.evidence = "trained"
    c.loss.variance = 0.1


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


# whole other models
COMPARATORS = {"de_net": de_net, "hl_net": hl_net, "rtfm": rtfm, "ur_dmu": ur_dmu}
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
