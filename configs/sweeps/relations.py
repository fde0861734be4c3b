"""Relationship graphs: similarity, which features they are built on, nearest neighbours, threshold,
time.

gfvad ablate --config=ucf --sweep=relations --workdir=runs/relations \\
    --config.data.root=/data/ucf_crime
"""

from gfvad.graphs.relations import RELATIONS
from gfvad.tasks.fusion.subsets import plain_start


def get_sweep(config):
    filtered = {"model.filter.modalities": tuple(config.data.modalities), **plain_start(config)}
    similarity: dict[str, dict[str, object]] = {
        name: {"model.relation.similarity": name} for name in RELATIONS
    }
    similarity["rbf-learnt"] = {"model.relation.similarity": "rbf", "model.relation.sigma": -1.0}
    sources = {
        "-".join(names): {"model.relation.sources": names, **filtered}
        for names in (("raw",), ("filtered",), ("residual",), ("raw", "residual"))
    }
    return {
        "axes": {
            "similarity": similarity,
            "sources": {f"with-filter-{name}": overrides for name, overrides in sources.items()},
            "projection": {
                f"projection{width}": {"model.relation.projection": width} for width in (16, 64)
            },
            "model.relation.knn": (4, 8, 16),
            "model.relation.threshold": (-1.0, 0.0, 0.3, 0.6, 0.9),
            "model.relation.temporal_tau": (0.0, 1.0, 4.0, 16.0),
            "seconds": {
                f"seconds{s:g}": {"data.clock": True, "model.relation.temporal_seconds": s}
                for s in (1.0, 3.0, 10.0)
            },
        },
        "seeds": 5,
    }
