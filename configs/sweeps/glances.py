"""What glances are worth, one annotated frame of each abnormal event of training videos, beside
video labels; and the same where they count for more.

gfvad ablate --config=ucf_folds:near --sweep=glances --workdir=runs/ucf-glances --seeds=3 \\
    --config.data.root=/data/ucf_crime
"""


def get_sweep(config):
    file = {"data.glances": config.data.glances or "glances_train.csv"}
    return {
        "base": "video",
        "settings": {
            "video": {"data.glances": ""},
            "glances": file,
            "glances-strong": {**file, "loss.glance": 0.3},
        },
        "seeds": 5,
    }
