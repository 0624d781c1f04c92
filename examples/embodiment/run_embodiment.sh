#!/usr/bin/env bash
# Trains a policy; sets everything up first where that has not been done yet.
#
#   bash examples/embodiment/run_embodiment.sh [CONFIG] [key=value ...]
#
# CONFIG is the name of a file in examples/embodiment/config (default: quickstart) or a path; each
# key=value overrides one of its settings.
set -euo pipefail
repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

config=quickstart
# A first argument with a "=" is already an override, unless it is a file.
if [ $# -gt 0 ] && { [[ "$1" != *=* ]] || [ -e "$1" ]; }; then
    config="$1"
    shift
fi
bash "$repo/requirements/install.sh" --quiet --config "$config"
# exec: signals such as Ctrl-C and SIGTERM reach the run itself, which then stops in good order.
exec "${RLINF_VENV:-$repo/.venv}/bin/rlinf" train "$config" "$@"
