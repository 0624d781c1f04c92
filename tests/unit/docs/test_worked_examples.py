"""The worked example of the page on simulators runs; keys that the pages name exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rlinf.config.validate import schema_keys
from rlinf.data.types import Start
from rlinf.envs.base import Simulator
from rlinf.envs.episode import EpisodeBatch, EpisodeRules

DOCS = Path(__file__).parents[3] / "docs"
PAGES = tuple(f"source-{language}/tutorials/simulator.md" for language in ("en", "zh"))
MIGRATING = tuple(f"source-{language}/guides/migrating.md" for language in ("en", "zh"))


def code(page: str) -> str:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)
    return block


@pytest.fixture(scope="module")
def example() -> ModuleType:
    module = ModuleType("cart")
    exec(compile(code(PAGES[0]), PAGES[0], "exec"), module.__dict__)
    return module


def test_both_languages_show_the_same_code():
    assert code(PAGES[0]) == code(PAGES[1])


def test_the_example_has_everything_that_a_simulator_has(example: ModuleType):
    cart = example.Cart(2, **example.CartParams().model_dump())
    methods = {name for name in vars(Simulator) if not name.startswith("_")}
    assert {
        name for name in methods | set(Simulator.__annotations__) if not hasattr(cart, name)
    } == set()


def test_the_example_runs_episodes_and_can_be_solved(example: ModuleType):
    cart = example.Cart(2, **example.CartParams().model_dump())
    batch = EpisodeBatch(cart, EpisodeRules(max_episode_steps=80, final="none"))
    shown = batch.start(np.arange(2), [Start(0, -1, 1), Start(0, -1, 1)])
    np.testing.assert_array_equal(shown.state[0], shown.state[1])
    episodes = []
    for _ in range(80):  # env 0 is steered, env 1 left alone
        place, speed, mark = cart.observe(np.arange(2)).state[0]
        actions = np.zeros((2, 1, 1), np.float32)
        actions[0] = 2 * (mark - place) - 6 * speed
        result = batch.run_chunk(actions, np.ones(2, bool), [None, None])
        episodes += result.episodes
    assert [(e.env, e.success_once, e.terminated) for e in episodes] == [
        (0, True, True),
        (1, False, False),
    ]


ONE_LINE = """
from rlinf import registry
registry.SIMULATORS["cart"] = "cart:SPEC"
from rlinf.config.load import load
from rlinf.envs.factory import make_batch
overrides = [word for env in ("env.train", "env.eval") for word in (
    f"{env}.simulator_type=cart", f"~{env}.init_params", f"+{env}.init_params={{reach: 0.5}}"
)]
env = load("toy_ppo_mlp", [*overrides, "actor.model.obs_dim=3", "actor.model.action_dim=1"])
batch = make_batch(env.config.env.train, 2, 0, "none", 0, None)
print(batch.tasks, env.config.env.train.init_params)
"""


def test_one_file_and_one_line_make_an_environment_known_to_the_configuration(tmp_path: Path):
    (tmp_path / "cart.py").write_text(code(PAGES[0]))
    done = subprocess.run(
        [sys.executable, "-c", ONE_LINE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "('stop the cart at the mark',) reach=0.5\n"


def test_every_path_on_the_pages_exists():
    root = DOCS.parent
    for page in PAGES:
        for path in re.findall(
            r"`((?:rlinf|tests|examples|requirements)/[\w/.]+)`", (DOCS / page).read_text()
        ):
            assert (root / path).exists(), path


def keys_that_change(page: str) -> list[tuple[list[str], list[str]]]:
    """Names in the first two columns of the table, row by row."""
    rows = re.findall(r"^\| (.*?) \| (.*?) \| .* \|$", (DOCS / page).read_text(), re.M)
    return [
        (re.findall(r"`([\w.]+)", theirs), re.findall(r"`(\w+\.[\w.]+)", ours))
        for theirs, ours in rows
    ]


def test_both_languages_name_the_same_keys_that_change_and_ours_exist():
    english, chinese = (keys_that_change(page) for page in MIGRATING)
    assert english == chinese
    assert {key for _, ours in english for key in ours} <= set(schema_keys())
    assert len(english) > 10
