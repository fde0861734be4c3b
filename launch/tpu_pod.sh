#!/usr/bin/env bash
# The main job on every host of a Cloud TPU pod slice. Needs gcloud, logged in, and a created TPU VM.
#   TPU=my-pod ZONE=us-central2-b REPOSITORY=https://HOST/gfvad.git bash launch/tpu_pod.sh --config=configs/xd.py --config.data.root=/mnt/xd --workdir=/mnt/runs/xd
# The data root, GFVAD_CACHE and the workdir must be on storage that every host mounts (Filestore or a mounted bucket).
set -euo pipefail
: "${TPU:?name of the TPU VM, as in: gcloud compute tpus tpu-vm list}" "${ZONE:?its zone}" "${REPOSITORY:?git address of this project}"
for argument in "$@"; do case "$argument" in --workdir=*) workdir_given=1 ;; esac; done
: "${workdir_given:?give --workdir=DIR on storage that every host mounts}"
printf -v arguments '%q ' "$@"
printf -v repository '%q' "$REPOSITORY"
# All hosts get the same command; jax.distributed finds coordinator, count and rank from the TPU's own metadata.
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
  set -e
  [ -d gfvad-run ] || git clone --quiet $repository gfvad-run
  cd gfvad-run && git pull --quiet --ff-only
  export GFVAD_JAX='jax[tpu]==0.10.2' GFVAD_DISTRIBUTED=auto ${GFVAD_CACHE:+GFVAD_CACHE=$(printf %q "$GFVAD_CACHE")}
  bash launch/local.sh $arguments"
