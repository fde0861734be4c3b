#!/usr/bin/env bash
# Sets up the environment and runs the tests; arguments go to pytest. Without any, the whole suite runs, a process a core
# (files in their order: by number of tests the longest would come last, one process waiting for the other).
#   bash launch/test.sh
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
gfvad_environment launch/requirements-test.txt
if [ $# -eq 0 ]; then set -- --numprocesses=auto --dist=loadfile --no-loadscope-reorder; fi
exec python -m pytest "$@"
