"""Parts of your own beside the project's, registered from outside: no edit of the package.

A config is a Python file, so a call in it is enough:

    # my_config.py
    import gfvad
    from configs import xd

    gfvad.register_relation("overlap", lambda x, mask: jnp.minimum(x[:, None], x).sum(-1))


    def get_config(variant=None):
        c = xd.get_config(variant)
        c.model.relation.similarity = "overlap"
        return c

`gfvad train --config=my_config.py` then trains with it. Commands that read a stored run without a
config find it by GFVAD_PLUGINS=my_config.py. `docs/examples/` has one script for each kind of part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from gfvad.fusion.forms import FORMS
from gfvad.graphs.expansion import EXPANSIONS
from gfvad.graphs.relations import RELATIONS
from gfvad.settings import kinds
from gfvad.settings.declared import AMOUNT, Setting
from gfvad.tasks import task_of


def register_relation(name: str, function: Callable[[jax.Array, jax.Array], jax.Array]) -> Any:
    """Makes a relation of your own known as config.model.relation.similarity and as a `kind`.

    function: (x [N, D], mask bool [N]) -> [N, N]; with a third parameter `sigma` it takes a width,
    fixed or learnt. What it gives is set to 0 at padded units. Returns the function. Raises
    ConfigError for a name of gfvad's own.

        gfvad.register_relation("overlap", lambda x, mask: jnp.minimum(x[:, None], x).sum(-1))
    """
    return RELATIONS.register(name, function)


def register_expansion(name: str, function: Callable[..., jax.Array]) -> Any:
    """Makes an expansion of your own known as config.model.expansion.kind.

    function: (r [N, N], mask bool [N], order) -> [order + 1, N, N], the identity first; it may also
    take `zeroth` and `restart`. What it gives is set to 0 at padded units. Returns the function.
    Raises ConfigError for a name of gfvad's own, or other parameters.

        gfvad.register_expansion("heat", lambda r, mask, order: jnp.stack([...]))
    """
    return EXPANSIONS.register(name, function)


def register_fusion(
    name: str,
    combine: Callable[[jax.Array, jax.Array], jax.Array],
    start: Callable[[int, int], np.ndarray],
) -> Any:
    """Makes a form of fusion of your own known as config.model.fusion.form.

    combine: (coefficients of one channel, graphs [M, order + 1, N, N] expanded) -> [N, N]. start:
    (M, order) -> starting values of those coefficients, of any shape; a little noise is added. The
    parametrisations free, nonneg and simplex (a softmax over all of them) hold as for other forms.
    Returns `combine`. Raises ConfigError for a name of gfvad's own.

        def weighted(c, graphs):  # [M, P + 1], [M, P + 1, N, N]
            return jnp.einsum("mp,mpij->ij", c, graphs)

        gfvad.register_fusion("weighted", weighted, lambda m, p: np.full((m, p + 1), 1 / m))
    """
    combine.start = start  # type: ignore[attr-defined]
    return FORMS.register(name, combine)


def register_encoder(name: str, make: Callable[..., Any], reads: str = "units") -> Any:
    """Makes an encoder of your own known to `gfvad extract --encoder=MODALITY=NAME` (units of 16
    frames), config.data.text_encoder (sentences) or config.data.vision (frames).

    make: a class that stands on UnitEncoder, SentenceEncoder or FrameEncoder of
    gfvad/encoders/registry.py, by what it `reads` (units, sentences, frames); its arguments are the
    encoder's settings. Returns it. Raises ConfigError for a name that another one has.

        class Brightness(UnitEncoder):
            name, modality, width = "brightness", "light", 1

            def encode(self, unit):  # unit.frames uint8 [T, h, w, 3]
                return np.float32([unit.frames.mean() / 255])

        gfvad.register_encoder("brightness", Brightness)
    """
    from gfvad.encoders import registry

    return registry.register_encoder(name, make, reads)


def register_layout(reader: type[Any]) -> type[Any]:
    """Makes a reader of folders of features known as config.data.layout, by its `kind`.

    reader: stands on gfvad.data.features.layouts.Layout and gives `scan` (which videos there are)
    and, for frame labels, `truth`; docs/examples/own_dataset.py is one. Returns it, so that it
    decorates. Raises ConfigError for a kind that another one has.
    """
    from gfvad.data.features import layouts

    return layouts.register_layout(reader)


def register_loss(
    name: str, function: Callable[[Any], Any], weight: float = 0.0, kind: str = kinds.DEFAULT
) -> Any:
    """Makes a loss term of your own known, and declares its weight: the setting config.loss.NAME,
    `weight` by default, in every config that is made afterwards.

    function: of what `total_loss` of the kind's losses gives to every term (weak: LossInputs of
    gfvad/tasks/fusion/losses.py: output, batch, mask, known, normal, abnormal, ...) -> (sum, count)
    of this device; predictive: LossInputs of gfvad/tasks/prediction/losses.py -> value of each clip
    [B]). kind: of config.kind. Returns the function. Raises ConfigError for a name that another
    one has.

        def level(given):  # scores of normal videos, mean over their units
            normal = given.mask & given.normal[:, None]
            return jnp.where(normal, nn.sigmoid(given.output.logits), 0).sum(), normal.sum()

        gfvad.register_loss("level", level, weight=0.1)
    """
    task_of({"kind": kind}).register_loss(name, weight)(function)
    setting = Setting(f"loss.{name}", float(weight), AMOUNT, varies=True, since="0.2", before=0.0)
    kinds.register(kind, setting.means(f"Weight of the loss {name}."))
    return function


def register_model(
    name: str,
    build: Callable[[Any, Any], nn.Module],
    check: Callable[[Any, Sequence[str]], None] | None = None,
) -> None:
    """Makes a whole model of your own, a comparator of fused features, known as config.model.name.

    build: (config, modalities, each with name and width) -> module, called for one video as
    module(features {m: [N, D_m]}, mask bool [N], train=...) -> gfvad.base.types.Output(logits [N],
    graph [G, N, N] or [0, N, N], aux); aux["loss/NAME"] [] is learnt by too. It may keep
    collections of variables of its own, and write them after each step (`Model.build` of
    gfvad/tasks/fusion/registry.py). check: refuses settings, by ConfigError. Raises ConfigError for
    a name that another one has.

        gfvad.register_model("mine", lambda config, modalities: MyModel(config.model.embed_dim))
    """
    from gfvad.tasks.fusion import registry

    registry.register_model(name, build, check)
