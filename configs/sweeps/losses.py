"""Weights of the losses; of the degree-variance regulariser (Eq. 7) also its threshold alpha and
rank k.

gfvad ablate --config=ucf --sweep=losses --workdir=runs/losses --config.data.root=/data/ucf_crime
"""

STRENGTH = 0.01  # of the regulariser, where its alpha and k are varied


def get_sweep(config):
    on = {"loss.variance": config.loss.variance or STRENGTH}
    return {
        "axes": {
            "loss.variance": (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
            "alpha": {
                f"alpha={alpha:g}": {"loss.variance_alpha": alpha, **on}
                for alpha in (0.2, 0.5, 0.7, 0.8, 0.9)
            },
            "k": {f"k={k}": {"loss.variance_k": k, **on} for k in (1, 5, 11, 15, 17)},
            "loss.label_smoothing": (0.0, 0.05, 0.1, 0.2),
            "loss.smoothness": (0.0, 8e-4, 8e-3, 8e-2),
            "loss.sparsity": (0.0, 8e-3, 8e-2),
            "loss.branch": (0.0, 0.5, 1.0, 2.0),
            "loss.unit_normal": (0.0, 0.5, 1.0, 2.0),
            "loss.unit_abnormal": (0.0, 0.1, 0.5),
            "loss.consistency": (0.0, 0.5, 1.0, 2.0),
            "loss.topk_divisor": (4, 8, 16, 32),
        },
        "seeds": 5,
    }
