#!/usr/bin/env bash
# Everything on this machine: sets up the environment, then runs the main job with the given arguments.
#   bash launch/local.sh --config=configs/xd.py
#   GFVAD_COMMAND  what to run instead of "python -m gfvad.main" of a fresh environment; nothing is installed then
set -euo pipefail
# Paths in the arguments are relative to where the command is given, which is the checkout in every documented command.
if [ -z "${GFVAD_COMMAND:-}" ]; then
  # shellcheck source=launch/environment.sh
  source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
  # shellcheck disable=SC2119
  gfvad_environment
fi
read -r -a command <<<"${GFVAD_COMMAND:-python -m gfvad.main}"
exec "${command[@]}" "$@"
