#!/usr/bin/env bash
# Installs this checkout into a new environment in another folder, as a user would, and tries it there: a minute or two.
#   bash launch/check_package.sh
#   GFVAD_PYTHON=python3.13 bash launch/check_package.sh
set -euo pipefail
checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${GFVAD_PYTHON:-python3}" -m venv environment
# shellcheck disable=SC1091  # it is made just before
source environment/bin/activate
pip install --quiet --disable-pip-version-check "$checkout"
export GFVAD_CACHE="$folder/cache"
python --version
TIMEFORMAT="%R s"
echo "gfvad --help" && time gfvad --help >/dev/null
echo "gfvad train --help" && time gfvad train --help >/dev/null
gfvad doctor
small=(--config.train.steps=10 --config.data.simulated.train_videos=24 --config.data.simulated.test_videos=8 --config.eval.bootstrap=10)
gfvad train --config=xd --workdir=run "${small[@]}" | tail -n 3
python - <<'PYTHON'
import gfvad, jax

x, y = jax.random.normal(jax.random.key(0), (2, 8, 32, 128))
graphs = [gfvad.relation(x), gfvad.relation(y)]
operator = gfvad.FusionOperator(order=4, channels=2)
params = operator.init(jax.random.key(1), graphs)
print("fused", operator.apply(params, graphs).shape, "by", gfvad.__file__)
PYTHON
