#!/usr/bin/env bash
# Sets RLinf up: uv, a virtual environment with the pinned packages, and a renderer that works.
#
#   bash requirements/install.sh                                      for the quickstart
#   bash requirements/install.sh embodied --model MODEL --env ENV     for a model and a simulator
#   bash requirements/install.sh openvla-oft --enable-behavior        the same, older form
#
#   --model NAME       mlp, tiny_vla, tiny_flow, openvla, openvla-oft, gr00t
#   --env NAME         maniskill, maniskill_libero, libero, isaaclab, mjlab, behavior, libero_pro,
#                      libero_plus (default: maniskill); the last five get an environment of
#                      their own, .venv-isaaclab and the like, with the Python that they need
#   --config NAME      model and simulator as the name of a configuration file has them
#   --extra NAME       one more extra of pyproject.toml, e.g. dev or wandb; may be repeated
#   --venv DIR         where the environment goes (default: $RLINF_VENV, else .venv)
#   --use-mirror       take packages from the mirror in requirements/mirrors.conf or RLINF_MIRROR
#                      (or pip's, or uv's setting); nothing is configured beyond this run
#   --dry-run          say what would be done, change nothing
#   --quiet            say nothing when there is nothing to do
#
# Exit code 2: something outside this script is in the way; the message says what to do.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$repo"

say() { printf '[install] %s\n' "$*"; }

die() { # MESSAGE FIX
    printf 'install.sh: %s\n  fix: %s\n' "$1" "$2" >&2
    exit 2
}

# ---- what is wanted ---------------------------------------------------------------------------

# What the name is, where it stands in the wrong option.
other_option() { # NAME
    case "$1" in
        maniskill | libero | maniskill_libero | isaaclab | mjlab | behavior | libero_pro | libero_plus)
            echo "; $1 is a simulator: --env $1"
            ;;
        mlp | tiny_vla | tiny_flow | openvla | openvla-oft | openvlaoft | gr00t)
            echo "; $1 is a model: --model $1"
            ;;
    esac
}

extras_of_model() {
    case "$1" in
        mlp | tiny_vla | tiny_flow) ;;
        openvla | openvla-oft | openvlaoft) echo openvla ;;
        gr00t) echo gr00t ;;
        *) die "--model $1: unknown model" "choose mlp, tiny_vla, tiny_flow, openvla, openvla-oft or gr00t$(other_option "$1")" ;;
    esac
}

extras_of_env() {
    case "$1" in
        maniskill | libero) echo "$1" ;;
        maniskill_libero) echo maniskill libero ;;
        isaaclab | mjlab | behavior | libero_pro | libero_plus) ;; # in an environment of its own
        *) die "--env $1: unknown simulator" \
            "choose maniskill, maniskill_libero, libero, isaaclab, mjlab, behavior, libero_pro or libero_plus$(other_option "$1")" ;;
    esac
}

# Simulators whose packages exclude ours -> the Python that they need; as rlinf/envs/*/spec.py say.
own_python_of() {
    case "$1" in
        isaaclab) echo 3.12 ;;
        mjlab) echo 3.11 ;;
        libero_pro) echo 3.11 ;;
        libero_plus) echo 3.11 ;;
        behavior) echo 3.10 ;;
    esac
}

# Remembers the choice and the option it came from; two that differ are a mistake.
choose_model() { # NAME OPTION
    local name="$1"
    [ "$name" != openvlaoft ] || name=openvla-oft
    [ -z "$model_from" ] || [ "$name" = "$model" ] ||
        die "$2 chooses the model $name, $model_from the model $model" "give one of the two"
    model="$name" model_from="$2"
}

choose_env() { # NAME OPTION
    [ -z "$env_from" ] || [ "$1" = "$env" ] ||
        die "$2 chooses the simulator $1, $env_from the simulator $env" \
            "give one of the two; maniskill_libero is both, others can be installed one after the other"
    env="$1" env_from="$2"
}

# Configurations are named SIMULATOR_..._MODEL; the quickstart and the user's own use ManiSkill.
choose_by_config() {
    local name
    name="$(basename "$1" .yaml)"
    case "$name" in
        libero_* | isaaclab_* | mjlab_* | behavior_*) choose_env "${name%%_*}" "--config $1" ;;
    esac
    case "$name" in
        *_openvla | *_openvlaoft) choose_model "${name##*_}" "--config $1" ;;
        *gr00t*) choose_model gr00t "--config $1" ;;
    esac
}

# Pairs that no configuration can make work, whatever else it says.
refuse_pairs() {
    case "$env $model" in
        "behavior openvla" | "behavior gr00t")
            die "--env behavior --model $model: no configuration of BEHAVIOR has this model" \
                "bash requirements/install.sh embodied --model openvla-oft --env behavior; \
or take $model with maniskill_libero or isaaclab"
            ;;
        "libero mlp" | "libero_pro mlp" | "libero_plus mlp")
            die "--env $env --model mlp: LIBERO shows pictures, and this model reads none" \
                "choose tiny_vla, or take mlp with maniskill, isaaclab or mjlab"
            ;;
    esac
}

# Wheels of a simulator's pins that an older C library cannot load -> its version.
refuse_old_glibc() {
    local needed=2.35 found
    [ "$env" = isaaclab ] || return 0
    found="$(getconf GNU_LIBC_VERSION 2> /dev/null | sed 's/.* //')" || true
    [ -n "$found" ] && [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
        die "--env isaaclab: its packages need glibc $needed or newer; this system has ${found:-no glibc}" \
            "use Ubuntu 22.04, Debian 12 or newer, or an image of docker/Dockerfile"
}

available_extras() {
    sed -n '/^\[project.optional-dependencies\]/,/^\[project\./s/^\([a-z0-9-]*\) = \[.*/\1/p' \
        pyproject.toml
}

require_available() { # EXTRA...
    local extra available
    available="$(available_extras | xargs)"
    for extra in "$@"; do
        [[ " $available " == *" $extra "* ]] ||
            die "this version of RLinf has no support for '$extra'" \
                "choose among the extras it has: $available$(other_option "$extra")"
    done
}

model=tiny_vla model_from="" env=maniskill env_from="" venv="${RLINF_VENV:-$repo/.venv}" mirror=no dry_run=no quiet=no
extras=()

while [ $# -gt 0 ]; do
    case "$1" in
        --model | --env | --config | --extra | --venv)
            [ $# -ge 2 ] || die "$1 needs a value" "see the head of requirements/install.sh"
            case "$1" in
                --model) choose_model "$2" "--model $2" ;;
                --env) choose_env "$2" "--env $2" ;;
                --config) choose_by_config "$2" ;;
                --extra) extras+=("$2") ;;
                --venv) venv="$2" ;;
            esac
            shift
            ;;
        --enable-behavior) choose_env behavior "$1" ;;
        --use-mirror) mirror=yes ;;
        --dry-run) dry_run=yes ;;
        --quiet) quiet=yes ;;
        -h | --help)
            sed -n '2,/^set /s/^# \{0,1\}//p' requirements/install.sh
            exit 0
            ;;
        embodied) ;;
        openvla | openvla-oft | gr00t) choose_model "$1" "$1" ;;
        *) die "$1: unknown argument" "bash requirements/install.sh --help" ;;
    esac
    shift
done

# One assignment each: only so does a `die` inside end the script.
of_env="$(extras_of_env "$env")"
of_model="$(extras_of_model "$model")"
# shellcheck disable=SC2206  # names of extras hold no spaces
extras+=($of_env $of_model)
own_python="$(own_python_of "$env")"
require_available "${extras[@]}"
refuse_pairs
refuse_old_glibc
case "$venv" in /*) ;; *) venv="$OLDPWD/$venv" ;; esac
stamp="$venv/.rlinf-installed"

# ---- what is there ----------------------------------------------------------------------------

has_nvidia_gpu() { [ -e /proc/driver/nvidia/version ]; }

# Changes whenever a finished installation would have to be done again.
fingerprint() {
    local gpu=no
    has_nvidia_gpu && gpu=yes
    gpu="${UV_TORCH_BACKEND:-$gpu}" # an image is made where there is none
    # Settings of development tools, at the end of pyproject.toml, do not count.
    { sed '/^\[tool\./,$d' pyproject.toml && cat requirements/{constraints,pip,torch-cpu}.txt && echo "$repo $gpu"; } |
        sha256sum | cut -d ' ' -f 1
}

# The stamp holds the fingerprint and the extras of the last installation that went through.
stamp_line() { if [ -f "$stamp" ]; then sed -n "$1p" "$stamp"; fi; }

is_installed() {
    local extra installed
    [ -x "$venv/bin/rlinf" ] && [ "$(stamp_line 1)" = "$(fingerprint)" ] || return 1
    installed=" $(stamp_line 2) "
    for extra in "${extras[@]}"; do
        [[ "$installed" == *" $extra "* ]] || return 1
    done
}

# What was installed before stays: several configurations may share one environment.
keep_installed_extras() {
    local available
    available="$(available_extras | xargs)"
    for extra in $(stamp_line 2); do
        [[ " $available " != *" $extra "* ]] || extras+=("$extra")
    done
    mapfile -t extras < <(printf '%s\n' "${extras[@]}" | sed '/^$/d' | sort -u)
}

# ---- steps ------------------------------------------------------------------------------------

# Values of the file where the variable has none yet, for this run alone.
read_mirrors() {
    local name value
    while IFS='=' read -r name value; do
        case "$name" in \#* | '') continue ;; esac
        [ -z "$value" ] || [ -n "${!name:-}" ] || export "$name=$value"
    done < requirements/mirrors.conf
}

use_package_settings() {
    local settings
    [ "$mirror" = no ] || read_mirrors
    settings="$(python3 requirements/pip_settings.py)"
    if [ -n "${RLINF_MIRROR:-}" ] && [ "$mirror" = yes ]; then
        export UV_DEFAULT_INDEX="$RLINF_MIRROR" PIP_INDEX_URL="$RLINF_MIRROR"
    fi
    eval "$settings"
    if [ "$mirror" = yes ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        die "--use-mirror: no mirror is configured" \
            "write RLINF_MIRROR=ADDRESS into requirements/mirrors.conf, or export RLINF_MIRROR=ADDRESS: that of the mirror's simple index"
    fi
}

find_uv() {
    for uv in uv "$repo/.tools/uv/bin/uv" "$repo/.tools/venv/bin/uv"; do
        # Also skips versions too old for what is asked of them here.
        [[ "$("$uv" pip install --help 2>&1)" != *--torch-backend* ]] || return 0
    done
    return 1
}

export PIP_ROOT_USER_ACTION=ignore # containers work as root; pip warns of it otherwise

uv_from_pip() {
    python3 -m pip install --quiet --require-hashes --upgrade --target "$repo/.tools/uv" \
        -r requirements/uv.txt
}

uv_from_venv() {
    python3 -m venv "$repo/.tools/venv" &&
        "$repo/.tools/venv/bin/python" -m pip install --quiet --require-hashes -r requirements/uv.txt
}

bring_uv() {
    ! find_uv || return 0
    say "fetching uv into .tools"
    if ! { uv_from_pip || uv_from_venv; } > "$log" 2>&1; then
        python3 requirements/system_packages.py python || exit 2
        uv_from_pip || die "pip could not fetch uv" "see pip's message above"
    fi
    find_uv || die "uv was fetched but does not start" "remove $repo/.tools and start again"
}

make_venv() {
    if [ ! -x "$venv/bin/python" ]; then
        say "creating $venv with Python 3.11"
        "$uv" venv --quiet --no-project --python 3.11 "$venv" ||
            die "uv could not create $venv with Python 3.11" \
                "see uv's message above; where uv cannot download Python, put a python3.11 on PATH"
    fi
    "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' ||
        die "the environment $venv is broken or its Python is not 3.11" \
            "remove it, or choose another with --venv DIR"
}

pip_install() { # ARGUMENT...
    local quietly=()
    [ -t 2 ] || quietly=(--quiet)
    "$uv" pip install --python "$venv/bin/python" ${quietly[@]+"${quietly[@]}"} "$@" \
        -r requirements/pip.txt --editable ".${extras[*]:+[$(IFS=, && echo "${extras[*]}")]}"
}

# Python compiles a file when it is first used, unless PYTHONDONTWRITEBYTECODE tells it to leave no
# trace, as in many containers: there each worker would compile all of PyTorch anew (6 s instead of
# 2). This environment is ours, and keeps what was compiled.
keep_bytecode() {
    local folder
    for folder in "$venv"/lib/python3.*/site-packages; do
        echo 'import sys; sys.dont_write_bytecode = False' > "$folder/keep_bytecode.pth"
    done
}

# The constraints without PyTorch's own packages, whose builds on PyTorch's index have other hashes.
constraints_without_torch_hashes() {
    awk '/^[a-z]/ { skip = /^(torch|triton|cuda-|nvidia-)/ } !skip' requirements/constraints.txt
    grep -o '^torch==[0-9.]*' requirements/constraints.txt
}

local_cpu_torch() {
    local wheel folder folders="${UV_FIND_LINKS:-}"
    wheel="$(grep -o '^torch==[^ ]*' requirements/torch-cpu.txt)"
    for folder in ${folders//,/ }; do
        ! compgen -G "$folder/${wheel/==/-}-cp311-*.whl" > /dev/null || return 0
    done
    return 1
}

# Where PyTorch comes from: the choice of UV_TORCH_BACKEND if set; with an NVIDIA GPU the CUDA build
# that its driver can run; else a CPU build, since the index's own brings gigabytes of CUDA. A wheel of
# the CPU build in a folder is preferred to any index.
torch_source() {
    local driver
    if [ "${UV_TORCH_BACKEND:-}" = cpu ] && local_cpu_torch; then
        echo folder
    elif [ -n "${UV_TORCH_BACKEND:-}" ]; then
        echo "$UV_TORCH_BACKEND"
    elif has_nvidia_gpu; then
        driver="$(nvidia-smi 2> "$log" | sed -n 's/.*CUDA Version: \([0-9]*\).*/\1/p')" || true
        # The pinned build is made for CUDA 13; older drivers get the build that suits them.
        [ "${driver:-13}" -ge 13 ] && echo index || echo auto
    elif local_cpu_torch; then
        echo folder
    else
        echo cpu
    fi
}

install_packages() {
    local source
    source="$(torch_source)"
    say "installing ${extras[*]} (PyTorch from: $source)"
    case "$source" in
        index) pip_install -c requirements/constraints.txt ;;
        folder)
            # uv would ask PyTorch's own index otherwise.
            (unset UV_TORCH_BACKEND && pip_install -c requirements/constraints.txt -c requirements/torch-cpu.txt)
            ;;
        cpu)
            pip_install -c requirements/constraints.txt -c requirements/torch-cpu.txt \
                --torch-backend cpu || {
                say "PyTorch's index of CPU builds failed; trying the package index (large download)"
                (unset UV_TORCH_BACKEND && pip_install -c requirements/constraints.txt)
            }
            ;;
        *) pip_install -c <(constraints_without_torch_hashes) --torch-backend "$source" ;;
    esac || die "uv could not install the packages ($(df -h --output=avail "$venv" | tail -1 | xargs) free)" \
        "see uv's message above, then start again; nothing was marked as installed"
}

# Everything draws and learns with it: where it is broken, a message about rendering would mislead.
require_torch() {
    "$venv/bin/python" -P -c 'import torch' 2> "$log" ||
        die "PyTorch was installed into $venv but cannot be imported: $(tail -n 1 "$log")" \
            "remove $venv and start again; UV_TORCH_BACKEND=cpu takes the build for machines without a GPU"
}

# A real frame of each simulator that was asked for; system libraries only where one fails.
ensure_rendering() {
    local simulator
    for simulator in maniskill libero; do
        [[ " ${extras[*]} " != *" $simulator "* ]] || ensure_rendering_of "$simulator"
    done
}

ensure_rendering_of() { # SIMULATOR
    say "checking that $1 can render (the first time takes some seconds)"
    if "$venv/bin/python" -P -m rlinf.envs.rendering "$1" > "$log" 2>&1; then
        say "$(tail -n 1 "$log")"
        return
    fi
    say "$(head -n 1 "$log")"
    say "installing the system libraries for rendering"
    python3 requirements/system_packages.py "$1" || exit 2
    "$venv/bin/python" -P -m rlinf.envs.rendering "$1" ||
        die "$1 cannot render on this machine even with the system libraries" \
            "see the reason above; requirements/README.md lists what is known"
}

# ---- a simulator with a Python of its own -----------------------------------------------------

own_is_installed() {
    [ -z "$own_python" ] || {
        [ -x "$venv-$env/bin/python" ] && [ "$(cat "$venv-$env/.rlinf-installed" 2> /dev/null)" = "$(own_fingerprint)" ]
    }
}

own_fingerprint() {
    { cat "requirements/$env.txt" rlinf/envs/isaaclab/arm.py && has_nvidia_gpu && echo gpu || true; } |
        sha256sum | cut -d ' ' -f 1
}

# Without a GPU, PyTorch's CPU build where the pins name the version that we have the hash of.
own_pins() {
    local version
    version="$(grep -o '^torch==[0-9.]*' requirements/torch-cpu.txt)"
    if has_nvidia_gpu || ! local_cpu_torch || ! grep -qx "$version .*" "requirements/$env.txt"; then
        cat "requirements/$env.txt"
    else
        awk '/^[a-z]/ { skip = /^(torch==|triton|cuda-|nvidia-)/ } !skip' "requirements/$env.txt"
        cat requirements/torch-cpu.txt
    fi
}

# An executable of that version, or the version itself, which uv then looks for or downloads.
find_python() { # VERSION
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c 'import venv' 2> /dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "$1"
}

install_own_python() {
    local python="$venv-$env"
    if [ ! -x "$python/bin/python" ]; then
        say "creating $python with Python $own_python"
        "$uv" venv --quiet --no-project --python "$(find_python "$own_python")" "$python" ||
            die "uv could not create $python with Python $own_python" \
                "see uv's message above; where uv cannot download Python, put a python$own_python on PATH"
    fi
    say "installing $env into $python"
    own_pins > "$log"
    # The hashes are those of the package index: uv would go to PyTorch's own where the variable is set.
    env -u UV_TORCH_BACKEND "$uv" pip install --quiet --python "$python/bin/python" --require-hashes -r "$log" ||
        die "uv could not install $env ($(df -h --output=avail "$venv" | tail -1 | xargs) free)" \
            "see uv's message above, then start again; nothing was marked as installed"
    [ "$env" != isaaclab ] || make_arm "$python/bin/python"
    [ "$env" != behavior ] || make_isaac_python "$python/bin"
    own_fingerprint > "$python/.rlinf-installed"
}

# IsaacLab's own robots come from a server of NVIDIA; ManiSkill's package has a Franka arm.
make_arm() { # PYTHON
    local robots="lib/python3.11/site-packages/mani_skill/assets/robots/panda" folder
    folder="$(mktemp -d)"
    if [ ! -d "$venv/$robots" ]; then
        "$uv" pip install --quiet --no-deps --target "$folder" -c requirements/constraints.txt mani_skill ||
            die "uv could not fetch mani_skill, which has the Franka arm" "see uv's message above"
        robots="$folder/${robots#lib/python3.11/site-packages/}"
    else
        robots="$venv/$robots"
    fi
    say "converting the Franka arm to USD: $("$1" rlinf/envs/isaaclab/arm.py "$robots" 2> "$log" | tail -n 1)"
    rm -rf "$folder"
}

# A standalone Isaac Sim is found through variables that its own script sets, before Python starts.
make_isaac_python() { # FOLDER
    cat > "$1/isaac-python" << 'SCRIPT'
#!/usr/bin/env bash
[ -z "${ISAAC_PATH:-}" ] || [ ! -f "$ISAAC_PATH/setup_conda_env.sh" ] || . "$ISAAC_PATH/setup_conda_env.sh"
exec "$(dirname "${BASH_SOURCE[0]}")/python" "$@"
SCRIPT
    chmod +x "$1/isaac-python"
}

say_what_remains() {
    [ "$env" = behavior ] || return 0
    say "left to do for BEHAVIOR, as no package index has it (docs/source-en/benchmarks/behavior.md; not run by us):"
    say "  1. OmniGibson 3.7 or newer: git clone https://github.com/StanfordVL/BEHAVIOR-1K (0.8 GB), check out a"
    say "     release 3.7, and from there: uv pip install --python $venv-behavior/bin/python --no-deps -e bddl -e OmniGibson"
    say "  2. Isaac Sim 4.5.0, under NVIDIA's licence: unpack"
    say "     https://download.isaacsim.omniverse.nvidia.com/isaac-sim-standalone-4.5.0-linux-x86_64.zip"
    say "     and export ISAAC_PATH=FOLDER before every run"
    say "  3. the data sets, over 30 GB, under BEHAVIOR's licence: export OMNIGIBSON_DATA_PATH=FOLDER before every run, and once:"
    say "     rlinf assets download behavior --accept-license"
}

# ---- main -------------------------------------------------------------------------------------

if is_installed && own_is_installed; then
    [ "$quiet" = yes ] || { say "$venv is up to date" && say_what_remains; }
    exit 0
fi
command -v python3 > /dev/null || die "python3 was not found" "install Python 3.10 or newer"
use_package_settings
keep_installed_extras
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if [ "$dry_run" = yes ]; then
    say "extras: ${extras[*]}"
    say "environment: $venv"
    say "PyTorch from: $(torch_source)"
    [ -z "$own_python" ] || say "$env: $venv-$env with Python $own_python"
    say_what_remains
    exit 0
fi
{ mkdir -p "$(dirname "$venv")" && exec 9> "$venv.lock"; } ||
    die "cannot write to $(dirname "$venv")" "make it writable, or choose another place with --venv DIR"
# A second start waits for the first.
flock 9 2> "$log" || say "no file locks here: do not install to $venv twice at the same time"
if ! is_installed; then
    rm -f "$stamp"
    bring_uv
    make_venv
    install_packages
    keep_bytecode
    require_torch
    ensure_rendering
    printf '%s\n' "$(fingerprint)" "${extras[*]}" > "$stamp.new"
    mv "$stamp.new" "$stamp"
fi
if ! own_is_installed; then
    bring_uv
    install_own_python
fi
say_what_remains
say "done: source ${venv}/bin/activate"
