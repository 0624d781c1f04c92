#!/usr/bin/env bash
# Runs every check: lint, format, types, tests. Sets everything up first where that is needed.
#
#   bash tests/run.sh                        all
#   bash tests/run.sh --fast                 lint and unit tests, without simulators and Ray
#   bash tests/run.sh tests/unit -k gae      arguments go to pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fast=
if [[ "${1:-}" == --fast ]]; then
    fast=yes
    shift
fi
bash requirements/install.sh --quiet --extra dev --extra docs --extra openvla \
    --extra gr00t --extra libero --extra wandb --extra swanlab
# Simulators with a Python of their own: without one, its tests are skipped and say why.
[[ -n "$fast" ]] || for own in mjlab isaaclab; do
    bash requirements/install.sh --quiet --env "$own" || echo "tests of $own will be skipped" >&2
done
export RLINF_GOLDEN="${RLINF_GOLDEN:-$PWD/../shared/golden}"
export RLINF_ASSETS="${RLINF_ASSETS:-$PWD/../shared/assets}"

bin="$PWD/.venv/bin"
[[ -n "$fast" ]] || "$bin/python" tests/pythons.py
"$bin/ruff" check .
"$bin/ruff" format --check .
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
if [[ -n "$fast" ]]; then
    # What starts a simulator, Ray, an installer or a run, or computes recorded results anew.
    left_out=(
        envs/{behavior,isaaclab,libero,maniskill,test_rendering.py,hosting/test_interpreter.py}
        cluster/test_cluster.py requirements docs test_hostile_files.py models/{gr00t,openvla}
        imitation/{test_experts,test_full_disk}.py logging/test_uploads.py selftest/test_checks.py
        runners/{test_benchmark,test_doctor,test_sft,test_warmup}.py
        workers/{test_imitation,test_imitation_openvla,test_libero,test_gr00t_configs}.py
        tuning/test_tune.py workers/{test_openvla_configs,test_policy_parallel,test_on_a_gpu}.py
    )
    exec "$bin/python" -m pytest -q --numprocesses=2 --dist=loadfile -m "not slow" tests/unit \
        "${left_out[@]/#/--ignore=tests/unit/}" "$@"
fi
# The types are checked beside the tests: on its own mypy uses one core.
types="$(mktemp)"
trap 'rm -f "$types"' EXIT
"$bin/mypy" > "$types" 2>&1 &
checking=$!
# Three at a time, file by file, the long ones first: that keeps two cores busy, as runs also wait.
# Last, so that its closing line ends the output.
status=0
"$bin/python" -m pytest -q --numprocesses=3 --dist=loadfile \
    --no-loadscope-reorder --durations=25 "$@" || status=$?
wait "$checking" || {
    cat "$types" >&2
    exit 1
}
exit "$status"
