#!/usr/bin/env bash
# N processes of the main job on this machine, joined by jax.distributed (Gloo): the rehearsal of a pod.
#   bash launch/cpu_pod.sh 2 --config=configs/xd.py --workdir=runs/pod
# Every process gets the same arguments; process 0 speaks and writes. When one ends badly the others are ended too, and its
# exit code is this script's; start it again and the run goes on from the last checkpoint. SIGTERM and Ctrl-C reach all of them.
#   GFVAD_COMMAND  what to run instead of "python -m gfvad.main"
#   GFVAD_PORT     port of the coordinator (default: a free one)
set -uo pipefail
set -m  # children in groups of their own: a Ctrl-C reaches them once, through the trap below, and is not ignored by them
if ! [[ "${1:-}" =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: bash launch/cpu_pod.sh N [arguments of gfvad.main]" >&2
  exit 2
fi
processes="$1"
shift
if [ -z "${GFVAD_COMMAND:-}" ]; then
  # shellcheck source=launch/environment.sh
  source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
  # shellcheck disable=SC2119
  gfvad_environment || exit 1
fi
read -r -a command <<<"${GFVAD_COMMAND:-python -m gfvad.main}"
export JAX_PLATFORMS=cpu
free_port='import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])'
port="${GFVAD_PORT:-$("$(command -v python3 || command -v python)" -c "$free_port")}"
export GFVAD_COORDINATOR="localhost:$port" GFVAD_PROCESSES="$processes"

declare -a children=()
for ((i = 0; i < processes; i++)); do
  GFVAD_PROCESS="$i" "${command[@]}" "$@" &
  children+=($!)
done

# shellcheck disable=SC2329  # the traps below call it
forward() { kill -s "$1" "${children[@]}" 2>/dev/null; }
trap 'forward TERM' TERM
trap 'forward INT' INT

code=0
declare -a left=("${children[@]}")
while [ "${#left[@]}" -gt 0 ]; do
  # Only a wake-up: it also returns for a trapped signal, and may miss a child that ended before it was called.
  wait -n "${left[@]}"
  declare -a living=() ended=()
  for child in "${left[@]}"; do
    if kill -0 "$child" 2>/dev/null; then living+=("$child"); else ended+=("$child"); fi
  done
  left=(${living[@]+"${living[@]}"})
  for child in ${ended[@]+"${ended[@]}"}; do
    wait "$child"
    status=$?
    if [ "$status" -eq 0 ] || [ "$code" -ne 0 ]; then continue; fi
    code="$status"
    # 130 and 143: all were asked to save and leave, so let them; anything else leaves the others waiting for a dead peer
    if [ "$code" -ne 130 ] && [ "$code" -ne 143 ] && [ "${#left[@]}" -gt 0 ]; then
      echo "cpu_pod: a process ended with code $code; ending the other ${#left[@]}" >&2
      kill -s KILL "${left[@]}" 2>/dev/null
    fi
  done
  [ "${#ended[@]}" -gt 0 ] || sleep 0.05
done
exit "$code"
