"""Order, kind and zeroth term of the expansion of relationship graphs.

gfvad ablate --config=ucf --sweep=expansion --workdir=runs/expansion \\
    --config.data.root=/data/ucf_crime
"""

from gfvad.graphs.expansion import EXPANSIONS
from gfvad.tasks.fusion.subsets import plain_start


def get_sweep(config):
    start = plain_start(config)  # walks and the identity cannot start as minterms
    kinds = {
        name: {"model.expansion.kind": name, **(start if name != "hadamard" else {})}
        for name in EXPANSIONS
    }
    zeroth = {
        "ones": {"model.expansion.zeroth": "ones"},
        "identity": {"model.expansion.zeroth": "identity", **start},
    }
    return {
        "axes": {
            "model.expansion.order": tuple(range(1, 11)),
            "kind": kinds,
            "zeroth": zeroth,
            "start": {"start-mean": start} if start else {},
        },
        "seeds": 5,
    }
