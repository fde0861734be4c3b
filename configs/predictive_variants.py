"""Variants of the predictive model that mean the same on every dataset, applied by name:
configs/NAME.py:VARIANT+VARIANT."""

from ml_collections import ConfigDict


def small(c: ConfigDict) -> None:
    """What two CPU cores train in minutes: the defaults."""


# batches of 64 that hold the authors' number of examples: epochs x frames from the fifth of a video
# on
PAPER_STEPS = {
    "ped2": 38_844,  # 1,000 epochs of 2,486
    "avenue": 11_925,  # 50 of 15,264
    "shanghaitech_semi": 42_687,  # 10 of 273,195
}


def paper(c: ConfigDict) -> None:
    """The authors' own model, training and score (docs/predictive.md): 448 x 448, the states of a
    frozen InternViT, descriptions by SimCSE; needs a GPU."""
    c.model.name = "sib_vad"
    c.data.height = c.data.width = 448
    c.data.channels = 3
    c.data.resize = "bicubic"
    c.data.eval_batch_size = 32
    c.data.validation_fraction = 0.0
    c.data.flow = c.model.pace = False
    c.data.vision = "states:internvit"
    c.data.text_encoder = "simcse"
    c.data.clip_text = "last"
    if not c.data.train_descriptions:
        c.data.train_descriptions = "captions_train.jsonl"
        c.data.test_descriptions = "captions_test.jsonl"
    c.model.patch, c.model.cell, c.model.width = 14, 7, 256
    c.model.motion_layers = c.model.joint_layers = c.model.decoder_layers = 4
    c.model.relation_bias = False
    c.optim.name, c.optim.schedule = "adam_coupled", "constant"
    c.optim.learning_rate, c.optim.weight_decay = 2e-4, 1e-5
    c.optim.warmup_steps, c.optim.clip_norm = 0, 0.0
    c.train.batch_size = 64
    c.train.steps = PAPER_STEPS.get(c.data.dataset, 10_000)
    c.train.eval_every = c.train.checkpoint_every = 1000
    c.score.terms, c.score.weights = ("frame", "text"), c.score.paper_weights
    c.score.floors = False
    c.seed = 42


def large(c: ConfigDict) -> None:
    """Our own model at the authors' sizes: 448 x 448, patches of 14, width 256, batch 64; needs a
    GPU. Without frozen tokens the patch encoder is trained."""
    c.data.height = c.data.width = 448
    c.data.channels = 3
    c.data.eval_batch_size = 32
    c.model.patch, c.model.cell, c.model.width = 14, 7, 256
    c.model.vision_layers, c.model.motion_layers, c.model.joint_layers, c.model.decoder_layers = (
        2,
        4,
        4,
        4,
    )
    c.model.text_hidden = 1024
    c.model.skip = "patch"
    c.optim.learning_rate = 2e-4
    c.optim.weight_decay = 1e-5
    c.train.batch_size = 64
    c.train.steps = 2000
    c.train.eval_every = c.train.checkpoint_every = 500


def frames(c: ConfigDict) -> None:
    """No optical flow, as in the paper: frames, frame differences, descriptions."""
    c.data.flow = False


def no_text(c: ConfigDict) -> None:
    c.data.train_descriptions = c.data.test_descriptions = ""


def no_motion(c: ConfigDict) -> None:
    """Neither frame differences nor flow, and no term of the score that is made of them."""
    c.data.flow = False
    c.model.motion = c.model.pace = False


def _filter(kind: str):
    def apply(c: ConfigDict) -> None:
        c.model.filter.kind = kind

    return apply


def _experts(count: int):
    def apply(c: ConfigDict) -> None:
        c.model.filter.experts = count
        c.model.filter.topk = min(c.model.filter.topk, count)

    return apply


def no_pace(c: ConfigDict) -> None:
    c.model.pace = False


def no_relations(c: ConfigDict) -> None:
    """No graph of token relations: neither as attention bias nor as a term of the score."""
    c.model.relation_bias = False
    c.score.terms = tuple(name for name in c.score.terms if name != "relation")


def causal(c: ConfigDict) -> None:
    c.score.causal = True


VARIANTS = {
    "small": small,
    "paper": paper,
    "large": large,
    "frames": frames,
    "no_text": no_text,
    "no_motion": no_motion,
    "no_filter": _filter("none"),
    "bottleneck": _filter("bottleneck"),
    "memae": _filter("memae"),
    "mnad": _filter("mnad"),
    "experts1": _experts(1),
    "experts7": _experts(7),
    "no_pace": no_pace,
    "no_relations": no_relations,
    "causal": causal,
}
