"""UCF-Crime: I3D class scores and sentences fused as graphs.

    gfvad train --config=ucf --config.data.root=/data/ucf_crime

Variants: scores_text (default: i3d_logits_train.npz and captions.json), scores, text,
near (evidence spreads in time), events (further, and comes from events in words),
related (near, and it comes from training videos), glance (near, with an annotated frame of each
training event), i3d (2048-d or 1024-d I3D features in the published layouts), paper, foil_KIND
(fusion of features in place of graphs, KIND as in model.foil.kind).
"""

from configs.common import get_config as defaults
from configs.variants import FOILS, choose, paper


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "ucf_crime"
    c.data.layout = "ucf_logits"
    c.data.test_name = "dev (60 of the 290 official test videos)"
    c.data.modalities = ("i3d_logits", "text")
    c.data.captions = "captions.json"
    c.data.train_units = 40
    c.data.eval_lengths = (40,)
    c.eval.metric = "auc"
    side_by_side(c)
    return choose(c, variant, VARIANTS)


def side_by_side(c):
    """A branch a modality with a loss of its own, their gated sum diffused over the fused graph; an
    ensemble of three.

    How settings were chosen, on training videos and where not: docs/evidence.md. 300 steps take a
    minute or two on 2 cores; expected AUC 0.888 (sd 0.005).
    """
    c.data.standardize = "standardize"
    c.data.text_assign = "decay"
    c.model.confidence = ("text",)
    c.model.embed_dim = 32
    c.model.dropout = 0.5
    c.model.input_dropout = 0.5
    c.model.input_dropout_shared = True
    c.model.relation.threshold = 0.0
    c.data.clock = True
    c.model.relation.temporal_seconds = 3.0  # events last seconds, however long the video is
    c.model.expansion.order = 2
    # beside the diagonal every term is a product of all graphs, time among them: evidence spreads
    # to near units only
    c.model.expansion.zeroth = "identity"
    c.model.fusion.rank = 2
    c.model.fusion.parametrisation = "nonneg"
    c.model.head.kind = "branches"
    c.model.head.layers = 0
    c.model.head.relations = False
    c.model.head.gates = (0.5, 1.0)  # class scores, sentences
    c.model.head.prior = 0.05
    # what text says of a unit that nobody described: the mean it says of units of normal videos
    c.model.head.absent = 0.0067
    c.model.head.detach = True
    c.loss.topk_divisor = 8
    c.loss.label_smoothing = 0.1
    c.loss.unit_normal = 1.0
    c.loss.consistency = 1.0
    c.optim.weight_decay = 0.05
    c.optim.learning_rate = 2e-3
    c.train.steps = 300
    c.train.members = 3


def near(c):
    """Evidence of a unit is the mean over units next to it whose class scores are alike, where it
    is scored alone. Chosen on folds 0 and 1 of the training videos, confirmed on the others
    (docs/evidence.md)."""
    c.model.relation.modalities = ("i3d_logits",)
    c.model.relation.temporal_seconds = 0.0
    c.model.relation.temporal_tau = 1.0
    c.model.head.mix = 1.0
    c.model.head.spread_trained = False  # else branches learn smoothed scores as targets


def events(c):
    """Over two units, and with what descriptions of events in words say of described units. Chosen
    on the same folds, confirmed on the others."""
    near(c)
    c.model.relation.temporal_tau = 2.0
    c.model.events.modality = "text"


def related(c):
    """The same, with what was said of described units alike in training videos."""
    near(c)
    c.model.bank.modality = "text"


def glance(c):
    """`near`, which also learns from one annotated frame of each event (docs/glances.md)."""
    near(c)
    c.data.glances = "glances_train.csv"


def _scores_text(c):
    c.data.modalities = ("i3d_logits", "text")


def _scores(c):
    c.data.modalities = ("i3d_logits",)
    c.model.head.gates, c.model.confidence = (), ()


def _text(c):
    c.data.modalities = ("text",)
    c.model.head.gates = ()


def _i3d(c):
    c.data.layout = "ucf_crime"
    c.data.test_name = "test"
    c.data.modalities = ("i3d",)
    c.model.head.gates, c.model.confidence = (), ()
    c.data.train_units = 200
    c.data.eval_lengths = (200, 400, 800)


VARIANTS = {
    "scores_text": _scores_text,
    "scores": _scores,
    "text": _text,
    "i3d": _i3d,
    "near": near,
    "events": events,
    "related": related,
    "glance": glance,
    "paper": paper,
    **FOILS,
}
