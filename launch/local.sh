#!/usr/bin/env bash
# Everything on this machine: sets up the environment, then runs the main job with the given arguments.
#   bash launch/local.sh --config=configs/xd.py
set -euo pipefail
# Paths in the arguments are relative to where the command is given, which is the checkout in every documented command.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
gfvad_environment
exec python -m gfvad.main "$@"
