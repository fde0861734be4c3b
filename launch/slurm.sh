#!/usr/bin/env bash
#SBATCH --job-name=gfvad
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
# The main job under Slurm, one process a task. Two minutes before the limit SIGTERM saves a checkpoint, the job puts itself
# back into the queue and goes on from there, until it is done. A preempted job is put back by Slurm itself.
#   sbatch launch/slurm.sh --config=configs/xd.py --config.data.root=/data/xd --workdir=/data/runs/xd
#   sbatch --nodes=4 launch/slurm.sh ...     (the workdir, the data and GFVAD_CACHE on a shared file system)
#   GFVAD_RESTARTS  after how many failures that are no interruption it gives up (default 3; launch/outcome.sh)
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?run this through sbatch from the checkout}"
# shellcheck source=launch/outcome.sh
source launch/outcome.sh
gfvad_arguments slurm "$@" || exit 2
export GFVAD_JAX="${GFVAD_JAX:-jax[cuda13]==0.10.2}"
if [ -z "${GFVAD_COMMAND:-}" ]; then
  bash -c 'source launch/environment.sh && gfvad_environment'   # once, before the tasks start
fi
# jax.distributed reads Slurm's variables
if [ "${SLURM_NTASKS:-1}" -gt 1 ]; then export GFVAD_DISTRIBUTED=auto; fi

# What this job keeps over requeues: a line a failure, and the codes of its tasks. Those that srun would end for another's
# sake seem to have been interrupted, so it ends none: the peers of a dead process end by themselves, within seconds.
notes=".gfvad-slurm-$SLURM_JOB_ID"
mkdir -p "$notes"
rm -f "$notes"/code.*
# shellcheck disable=SC2016  # it is the task that expands it
srun --kill-on-bad-exit=0 --wait=600 bash -c '
  trap : TERM
  bash launch/local.sh "${@:2}"
  code=$?
  echo "$code" >"$1/code.$SLURM_PROCID"
  exit "$code"' task "$notes" "$@" &
step=$!
trap 'kill -TERM "$step" 2>/dev/null' TERM INT
code=0
wait "$step" || code=$?
while kill -0 "$step" 2>/dev/null; do code=0; wait "$step" || code=$?; done  # the first wait was cut short by a signal
mapfile -t codes < <(cat "$notes"/code.* 2>/dev/null)
if [ "$code" -ne 0 ] && [ "$(gfvad_worst "${codes[@]}")" -eq 0 ]; then codes+=("$code"); fi
code="$(gfvad_worst "${codes[@]}")"

outcome="$(gfvad_outcome "$code")"
if [ "$outcome" = retry ]; then
  echo "$code" >>"$notes/failures"
  count="$(wc -l <"$notes/failures")"
  if [ "$count" -gt "${GFVAD_RESTARTS:-3}" ]; then
    echo "slurm: the job ended with code $code; not put back after $count failures (GFVAD_RESTARTS=${GFVAD_RESTARTS:-3})" >&2
    outcome=stop
  fi
fi
case "$outcome" in
  again | retry)
    # a job that somebody cancels, or that Slurm puts back itself, is no longer running
    state="$(scontrol --oneliner show job "$SLURM_JOB_ID" | grep -o 'JobState=[A-Z_]*' || true)"
    if [ "$state" = JobState=RUNNING ]; then
      echo "slurm: the job ended with code $code ($outcome); back into the queue" >&2
      scontrol requeue "$SLURM_JOB_ID"
    else
      echo "slurm: the job ended with code $code; not put back, since it is no longer running (${state:-no state})" >&2
      rm -rf "$notes"
    fi
    ;;
  *) rm -rf "$notes" ;;
esac
exit "$code"
