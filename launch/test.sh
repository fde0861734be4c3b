#!/usr/bin/env bash
# Sets up the environment and runs the tests; arguments go to pytest.
#   bash launch/test.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
gfvad_environment launch/requirements-test.txt
exec python -m pytest "$@"
