#!/usr/bin/env bash
# The main job over several seeds, one run folder a seed, then mean and spread.
#   bash launch/seeds.sh 5 runs/ucf-fused --config=configs/ucf.py --config.data.root=/data/ucf_crime
# A run that is complete is not trained again; an interrupted one goes on.
set -euo pipefail
if [ "$#" -lt 3 ]; then echo "usage: bash launch/seeds.sh SEEDS FOLDER --config=configs/NAME.py [--config.KEY=VALUE ...]" >&2; exit 2; fi
seeds="$1" folder="$2"; shift 2
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck disable=SC2119
gfvad_environment
for seed in $(seq 0 $((seeds - 1))); do
  python -m gfvad.main "$@" --config.seed="$seed" --workdir="$folder/seed$seed"
done
python -m gfvad.main compare summary "$folder"
