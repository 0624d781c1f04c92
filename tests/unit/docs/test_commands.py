"""What the pages tell to type is understood: shell commands, and pieces of configurations."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from rlinf.cli.parser import parse
from rlinf.config.compose import CONFIG_DIR
from rlinf.config.load import load
from rlinf.config.machine import Machine
from rlinf.config.placement import Node
from rlinf.config.schema import Config
from tests.unit.docs.pages import PAGES, ROOT, TREES, blocks, commands

of_each_page = pytest.mark.parametrize("page", PAGES)

OTHERS = {  # programs that are not ours
    *(
        "cd",
        "export",
        "source",
        "mkdir",
        "git",
        "curl",
        "wget",
        "unzip",
        "rm",
        "apt-get",
        "nvidia-smi",
    ),
    *("docker", "hf", "huggingface-cli", "pip", "ray", "tensorboard", "uv", "wandb", "swanlab"),
    *("srun", "sbatch", "chmod", "ssh"),
}


@of_each_page
def test_every_command_is_one_that_there_is(page: str):
    for words in commands((TREES["en"] / page).read_text()):
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        program, *arguments = words
        if program == "rlinf":
            assert_understood(arguments)
        elif program in ("bash", "python") and arguments[0] not in ("-c", "-m"):
            assert_runs(arguments)
        else:
            assert program in {*OTHERS, "python"}, words


def assert_understood(words: list[str]) -> None:
    """The words after `rlinf`; keys and values of an override are known."""
    arguments = parse(words)
    config = getattr(arguments, "config", None)
    if config and not re.search(r"[A-Z]", config):
        own = ["runner.only_eval=true"] if words[0] == "eval" else []
        valid(config, (*own, *arguments.overrides))


def assert_runs(words: list[str]) -> None:
    """A script of the repository, with a configuration that is valid where it takes one."""
    script, *rest = words
    assert (ROOT / script).is_file(), script
    if script == "requirements/install.sh":
        done = subprocess.run(
            ["bash", script, "--dry-run", *rest],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (rest, done.stderr)
    elif script.startswith("examples/embodiment/") and rest and not re.search(r"[A-Z]", rest[0]):
        valid(rest[0], tuple(word for word in rest[1:] if "=" in word))


LAPTOP = Machine(Node(accelerators=0, cpu_slots=2), 16_000_000_000)
GPUS = Machine(Node(accelerators=8, cpu_slots=64), 512_000_000_000, None, 80_000_000_000)
checked: set[tuple[str, tuple[str, ...]]] = set()


def valid(config: str, overrides: tuple[str, ...]) -> None:
    """The whole check of a configuration, but for what lies on the reader's machine."""
    if (config, overrides) in checked:
        return
    words = [word for word in overrides if not re.match(r"^[\w.]*(path|_dir|data)=", word)]
    load(config, words, GPUS if re.search("openvla|gr00t", config) else LAPTOP)
    checked.add((config, overrides))


@of_each_page
def test_every_piece_of_a_configuration_is_valid(page: str, tmp_path: Path):
    for number, block in enumerate(blocks((TREES["en"] / page).read_text())):
        text = "\n".join(block.lines)
        plain = yaml.safe_load(text) if block.kind == "yaml" else {}
        if not set(plain) & set(Config.model_fields):
            continue
        # Its first line names the configuration that it changes.
        (base, *overrides) = re.match(r"# (.*)", text)[1].split()
        assert (CONFIG_DIR / f"{base}.yaml").is_file(), base
        file = tmp_path / f"{base}_{number}.yaml"
        file.write_text(yaml.safe_dump({"defaults": [base, "_self_"], **plain}))
        valid(str(file), tuple(overrides))
