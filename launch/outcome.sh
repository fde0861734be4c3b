# shellcheck shell=bash
# Sourced by the launchers: what an exit code of the main job asks for, and the argument list that all launchers share.

# gfvad_outcome CODE prints
#   done   0: nothing is left to do
#   stop   2 (wrong input or setting), 3 (numbers not finite), 126, 127 (no such command), 130 (Ctrl-C): the same again would end the same
#   again  143: asked to leave, all is saved; the same command goes on from there, as often as it takes
#   retry  all others: 75 (peers did not come), 134, 137, 139, 255 (a peer, a machine or the connection died), 1; counted, up to GFVAD_RESTARTS
gfvad_outcome() {
  case "$1" in
    0) echo "done" ;;
    2 | 3 | 126 | 127 | 130) echo stop ;;
    143) echo again ;;
    *) echo retry ;;
  esac
}

# gfvad_worst CODE ... prints the code of several processes that decides: to stop before to go on, to go on before to retry.
gfvad_worst() {
  local wanted code
  for wanted in stop again retry; do
    for code in "$@"; do
      if [ "$(gfvad_outcome "$code")" = "$wanted" ]; then echo "$code"; return; fi
    done
  done
  echo 0
}

# gfvad_arguments LAUNCHER "$@" refuses an argument list that could not be started again: without a config, or without a folder that the next start finds.
gfvad_arguments() {
  local launcher="$1" argument config="" workdir=""
  shift
  for argument in "$@"; do
    case "$argument" in --config=?*) config=1 ;; --workdir=?*) workdir=1 ;; esac
  done
  if [ -z "$config" ] || [ -z "$workdir" ]; then
    echo "$launcher: expected --config=NAME, --workdir=FOLDER that every machine and every restart sees, and as needed --config.data.root=FOLDER --config.KEY=VALUE; found: $*" >&2
    return 2
  fi
}
