#!/usr/bin/env bash
# Sets up the environment and runs the tests; arguments go to pytest. Without any, the whole suite runs, a process a core.
#   bash launch/test.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
gfvad_environment launch/requirements-test.txt
if [ $# -eq 0 ]; then set -- --numprocesses=auto --dist=loadfile; fi
exec python -m pytest "$@"
