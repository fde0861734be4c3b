"""What tests register goes again."""

from contextlib import contextmanager

from gfvad.data.features.layouts import LAYOUTS
from gfvad.encoders.registry import ENCODERS
from gfvad.fusion.forms import FORMS
from gfvad.graphs.expansion import EXPANSIONS
from gfvad.graphs.relations import RELATIONS
from gfvad.settings.kinds import KINDS
from gfvad.tasks.fusion import losses, registry
from gfvad.tasks.novelty import registry as unit_registry
from gfvad.tasks.prediction import losses as clip_losses
from gfvad.tasks.prediction import registry as clip_registry

MODELS = (registry.MODELS, clip_registry.MODELS, unit_registry.MODELS)
LOSSES = (losses.LOSSES, clip_losses.LOSSES)
TABLES = (
    *(FORMS, EXPANSIONS, RELATIONS, LAYOUTS),
    *(*MODELS, *LOSSES, *ENCODERS.values(), *KINDS.values()),
)


@contextmanager
def leave_no_trace():
    """Within it, names may be registered; afterwards every table is as it was."""
    before = [dict(table) for table in TABLES]
    try:
        yield
    finally:
        for table, old in zip(TABLES, before):
            table.clear()
            table.update(old)
