#!/usr/bin/env bash
# Evaluates a policy on all sets of PutOnPlateInScene25: the training setting, and what is out of
# distribution in vision, semantics and execution. A table as Markdown and as JSON.
#
#   bash examples/embodiment/eval_mani_ood.sh CONFIG CKPT [key=value ...]
#
# CONFIG is the name of a file in examples/embodiment/config or a path, CKPT a checkpoint or an
# exported policy. The same runner.logger.log_path=FOLDER goes on with an interrupted evaluation.
set -euo pipefail
repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

is_override() { [[ "$1" == *=* ]] && [ ! -e "$1" ]; }
if [ $# -lt 2 ] || is_override "$1" || is_override "$2"; then
    echo "eval_mani_ood.sh: the name of a configuration or of a checkpoint is missing" >&2
    echo "  fix: bash examples/embodiment/eval_mani_ood.sh CONFIG CKPT [key=value ...]" >&2
    exit 2
fi
config="$1" checkpoint="$2"
shift 2
bash "$repo/requirements/install.sh" --quiet --config "$config"
# 256 episodes of 80 steps in each of 16 sets: success at some step, and at the last one.
exec "${RLINF_VENV:-$repo/.venv}/bin/rlinf" eval "$config" --benchmark maniskill_ood \
    "runner.ckpt_path=$checkpoint" env.eval.num_trials=256 env.eval.ignore_terminations=true "$@"
