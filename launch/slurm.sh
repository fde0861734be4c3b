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
# The main job under Slurm, one process a task; SIGTERM two minutes before the limit saves a checkpoint, and a requeued job goes on from it.
#   sbatch launch/slurm.sh --config=configs/xd.py --config.data.root=/data/xd --workdir=/data/runs/xd
#   sbatch --nodes=4 launch/slurm.sh ...     (the workdir, the data and GFVAD_CACHE on a shared file system)
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?run this through sbatch from the checkout}"
export GFVAD_JAX="${GFVAD_JAX:-jax[cuda13]==0.10.2}"
bash -c 'source launch/environment.sh && gfvad_environment'   # once, before the tasks start
[ "${SLURM_NTASKS:-1}" -gt 1 ] && export GFVAD_DISTRIBUTED=auto   # jax.distributed reads Slurm's variables
exec srun --kill-on-bad-exit=1 bash launch/local.sh "$@"
