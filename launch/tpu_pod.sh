#!/usr/bin/env bash
# The main job on every host of a Cloud TPU slice, until it is done. Needs gcloud, logged in.
#   TPU=my-pod ZONE=us-central2-b REPOSITORY=https://HOST/gfvad.git bash launch/tpu_pod.sh --config=configs/xd.py --config.data.root=/mnt/xd --workdir=/mnt/runs/xd
# With ACCELERATOR and RUNTIME the slice is asked for as a queued resource; one that is preempted, suspended or failed is
# deleted and asked for again, and the job goes on from its last checkpoint. At the end, at an error and at Ctrl-C it is deleted.
# Without them the TPU VM of that name is used as it is, and left.
#   TPU, ZONE       name and zone of the slice           PROJECT   Google Cloud project (default: gcloud's)
#   REPOSITORY      git address of this project          REVISION  commit to run (default: the address's HEAD when this starts)
#   ACCELERATOR     e.g. v5litepod-16                    RUNTIME   e.g. v2-alpha-tpuv5-lite
#   SPOT=1          ask for Spot capacity                KEEP=1    do not delete the slice at the end
#   POLL            seconds between looks (default 30)   GFVAD_RESTARTS  failures, preemptions not counted, that are borne (default 3)
#   GFVAD_CACHE, GFVAD_COMMAND, GFVAD_WAIT_SECONDS  as on one machine, on every host
# The data root, GFVAD_CACHE and the workdir must be on storage that every host sees.
set -euo pipefail
set -m  # what runs beside this script has a group of its own, and is ended as a whole
# shellcheck source=launch/outcome.sh
source "$(dirname "${BASH_SOURCE[0]}")/outcome.sh"
: "${TPU:?name of the slice}" "${ZONE:?its zone}" "${REPOSITORY:?git address of this project}"
if [ -n "${ACCELERATOR:-}" ]; then : "${RUNTIME:?version of the TPU software, beside ACCELERATOR}"; fi
gfvad_arguments tpu_pod "$@" || exit 2
where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
poll="${POLL:-30}" restarts="${GFVAD_RESTARTS:-3}" failures=0 runs=0 log="" ssh=""
rest() { sleep "$poll" >/dev/null 2>&1 & wait $! || true; }
say() { echo "tpu_pod: $*" >&2; }

revision="${REVISION:-$(git ls-remote "$REPOSITORY" HEAD | cut -f1)}"
[ -n "$revision" ] || { say "$REPOSITORY: no HEAD found; give an address that git ls-remote reads, or REVISION"; exit 2; }

# What a host does. An earlier run there, whose connection was lost, is asked to save and leave first.
# shellcheck disable=SC2016  # it is the host that expands it
leave='
leave() {
  pid="$(cat "$HOME/gfvad-run.pid" 2>/dev/null)" || return 0
  tr "\0" " " 2>/dev/null <"/proc/$pid/cmdline" | grep -q -e --workdir= || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  for _ in $(seq 120); do kill -0 "$pid" 2>/dev/null || return 0; sleep 1; done
  kill -KILL "$pid"
}'
exports="GFVAD_DISTRIBUTED=auto GFVAD_JAX=$(printf %q "${GFVAD_JAX:-jax[tpu]==0.10.2}")"
for name in GFVAD_CACHE GFVAD_COMMAND GFVAD_WAIT_SECONDS; do
  if [ -n "${!name:-}" ]; then exports+=" $name=$(printf %q "${!name}")"; fi
done
host="$leave
job() {
  leave
  cd \"\$HOME\"
  [ -d gfvad-run ] || git clone --quiet $(printf %q "$REPOSITORY") gfvad-run || return 1
  cd gfvad-run && git fetch --quiet origin || return 1
  git checkout --quiet --detach $(printf %q "$revision") || return 2
  export $exports
  bash launch/local.sh $(printf '%q ' "$@") &
  echo \$! >\"\$HOME/gfvad-run.pid\"
  wait \$!
}"

slice_state() { gcloud compute tpus queued-resources describe "$TPU" "${where[@]}" --format='value(state.state)' 2>/dev/null || true; }
machine_state() { gcloud compute tpus tpu-vm describe "$TPU" "${where[@]}" --format='value(state)' 2>/dev/null || true; }
on_hosts() { gcloud compute tpus tpu-vm ssh "$TPU" "${where[@]}" --worker=all --command="$1"; }
remove() { gcloud compute tpus queued-resources delete "$TPU" "${where[@]}" --force --quiet; }

failed() {  # counts a failure; ends the script at the last that is borne
  failures=$((failures + 1))
  if [ "$failures" -gt "$restarts" ]; then say "$1; given up after $failures failures (GFVAD_RESTARTS=$restarts)"; exit "${2:-1}"; fi
  say "$1; failure $failures of $restarts that are borne"
}

clean_up() {
  local code=$?
  trap - EXIT TERM INT
  if [ -n "$ssh" ]; then
    say "ending the job on the hosts"
    timeout 150 gcloud compute tpus tpu-vm ssh "$TPU" "${where[@]}" --worker=all --command="$leave; leave" >&2 || true
    kill -TERM -- "-$ssh" 2>/dev/null || true
  fi
  if [ -n "${ACCELERATOR:-}" ] && [ -z "${KEEP:-}" ] && [ -n "$(slice_state)" ]; then
    say "deleting $TPU"
    remove || say "$TPU could not be deleted, and may still cost money: gcloud compute tpus queued-resources delete $TPU ${where[*]} --force"
  fi
  if [ -n "$log" ]; then rm -f "$log"; fi
  exit "$code"
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
log="$(mktemp)"

acquire() {  # returns when the slice is there
  local state said=""
  while true; do
    state="$(slice_state)"
    [ "$state" = "$said" ] || say "$TPU: ${state:-not there}"
    said="$state"
    case "$state" in
      ACTIVE) return ;;
      "")
        say "asking for $ACCELERATOR as $TPU"
        gcloud compute tpus queued-resources create "$TPU" "${where[@]}" --node-id="$TPU" --accelerator-type="$ACCELERATOR" \
          --runtime-version="$RUNTIME" ${SPOT:+--spot} --quiet >&2 || failed "$TPU could not be asked for" 1
        ;;
      SUSPENDED) remove || failed "$TPU could not be deleted" ;;
      FAILED) remove || true; failed "$TPU: the request failed" ;;
    esac
    rest
  done
}

run_everywhere() {  # sets code: of the process that decides, or "lost" where the machine is gone
  local codes nap
  runs=$((runs + 1))
  (on_hosts "$host
job; echo \"gfvad-exit $runs \$?\"" | tee "$log") &
  ssh=$!
  while kill -0 "$ssh" 2>/dev/null; do
    sleep "$poll" >/dev/null 2>&1 &
    nap=$!
    wait -n "$ssh" "$nap" 2>/dev/null || true
    kill "$nap" 2>/dev/null || true
    wait "$nap" 2>/dev/null || true
    # a lost machine does not close its connections
    if kill -0 "$ssh" 2>/dev/null && gone; then
      kill -KILL -- "-$ssh" 2>/dev/null || true
      wait "$ssh" 2>/dev/null || true
      ssh="" code=lost
      return
    fi
  done
  code=0
  wait "$ssh" 2>/dev/null || code=$?
  ssh=""
  mapfile -t codes < <(grep -ao "gfvad-exit $runs [0-9]*" "$log" | cut -d' ' -f3)
  # a connection that failed says nothing of the process behind it
  if [ "$code" -ne 0 ] && [ "$(gfvad_worst "${codes[@]}")" -eq 0 ]; then codes+=(255); fi
  code="$(gfvad_worst "${codes[@]}")"
  if [ "$code" -ne 0 ] && gone; then code=lost; fi
}

gone() {  # whether the slice that is ours to replace is no longer there
  [ -n "${ACCELERATOR:-}" ] && { [ "$(slice_state)" != ACTIVE ] || [ "$(machine_state)" != READY ]; }
}

while true; do
  if [ -n "${ACCELERATOR:-}" ]; then acquire; fi
  run_everywhere
  if [ "$code" = lost ]; then
    say "$TPU is gone; asking for it again, the job goes on from its last checkpoint"
    remove || true
    continue
  fi
  case "$(gfvad_outcome "$code")" in
    "done") say "done after $runs starts"; exit 0 ;;
    stop) say "the job ended with code $code, which another start would not mend"; exit "$code" ;;
    retry) failed "the job ended with code $code" "$code" ;;
    again) say "the job was interrupted and has saved; starting it again" ;;
  esac
  rest
done
