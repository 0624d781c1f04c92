#!/usr/bin/env bash
# Evaluates a policy: every trial of every task once, results as a table and as JSON.
#
#   bash examples/embodiment/eval_embodiment.sh CONFIG [key=value ...]
#
# CONFIG is the name of a file in examples/embodiment/config or a path; each key=value overrides one
# of its settings.
set -euo pipefail
repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

if [ $# -eq 0 ] || { [[ "$1" == *=* ]] && [ ! -e "$1" ]; }; then
    echo "eval_embodiment.sh: the name of a configuration is missing" >&2
    echo "  fix: bash examples/embodiment/eval_embodiment.sh CONFIG [key=value ...]" >&2
    exit 2
fi
config="$1"
shift
bash "$repo/requirements/install.sh" --quiet --config "$config"
exec "${RLINF_VENV:-$repo/.venv}/bin/rlinf" eval "$config" "$@"
