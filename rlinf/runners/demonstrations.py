"""Demonstrations of the scripted expert, collected once and kept as a LeRobot data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rlinf import __version__
from rlinf.config.derive import Plan
from rlinf.config.imitation import ImitationConfig
from rlinf.config.machine import cache_folder
from rlinf.config.schema import Config
from rlinf.data.cache import damage, discard, one_maker, seal
from rlinf.data.disk import refusals_told
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.imitation.episode import Episode
from rlinf.imitation.experts import demonstrate
from rlinf.imitation.lerobot.write import Writer
from rlinf.runners.run import Run
from rlinf.wording import plural

FORMAT = 2  # raise it when the same settings would give other demonstrations or weights
_OF_DEMONSTRATIONS = {
    "expert",
    "num_demonstrations",
    "sound_share",
    "flaw",
    "disturbance",
    "disturb_every",
    "seed",
}


_ELSEWHERE = "name a folder on a larger disk in imitation.cache_dir"


def data_folders(config: Config, plan: Plan, settings: ImitationConfig, run: Run) -> list[str]:
    """The data sets to learn from: the given ones, or that of the expert, collected if need be."""
    if settings.data:
        return list(settings.data)
    folder = cache_folder(settings.cache_dir) / f"demonstrations-{digest(data_key(config))}"
    cached("demonstrations", folder, lambda: _collect(config, plan, settings, run, folder), run)
    return [str(folder)]


def cached(what: str, folder: Path, make: Callable[[], None], run: Run) -> None:
    """Has `make` make a folder of the cache, unless it is there and whole.

    Of several runs that need it one makes it, and the others wait.

    Args:
        what: is in it.
    """
    noted = False

    def wait() -> None:
        nonlocal noted
        run.stop.check()
        if not noted:
            run.console.note(f"{what}: another run makes {folder}, waiting for it")
        noted = True

    if damage(folder) is not None:
        with refusals_told(f"the {what}", folder, _ELSEWHERE), one_maker(folder, wait):
            problem = damage(folder)
            if problem is not None:
                if folder.exists():
                    run.console.warn(f"{folder} is damaged ({problem}) and made again")
                    discard(folder)
                make()
                seal(folder)
                return
    run.console.note(f"{what}: taken from {folder}")


def _collect(config: Config, plan: Plan, settings: ImitationConfig, run: Run, folder: Path) -> None:
    assert settings.num_demonstrations is not None, "checked when the configuration was loaded"
    writer = Writer(folder, config.env.train.init_params.steps_per_second(), "png")
    try:
        count = settings.num_demonstrations
        write_episodes(writer, expert_episodes(config, plan, settings, count, run), count, run)
        if folder.is_dir():  # another run was faster, where there are no locks
            writer.discard()
        else:
            writer.close()
    except BaseException:
        writer.discard()  # a part of them is not what the name says
        raise


def decode_pictures(folders: Sequence[str], settings: ImitationConfig, run: Run) -> None:
    """Decodes the pictures of data sets for all ranks, unless that was done before."""

    def on_episode(done: int, total: int) -> None:
        run.stop.check()
        run.console.progress(done, total)

    cache = cache_folder(settings.cache_dir)
    with run.console.phase("pictures", once=True):
        Demonstrations.load(folders, settings.image_keys, cache, on_episode)


def expert_episodes(
    config: Config, plan: Plan, settings: ImitationConfig, count: int, run: Run
) -> Iterator[Episode]:
    """Episodes of the scripted expert, as they get ready."""
    for part in demonstrate(
        settings,
        count,
        config.env.train,
        config.actor.model.num_action_chunks,
        max(1, plan.train.simulator_processes),
        run.folder / "workers" / "demonstrations.log",
        run.stop.check,
    ):
        yield from part


def write_episodes(writer: Writer, episodes: Iterable[Episode], total: int, run: Run) -> None:
    """Writes `total` episodes as they come, and says what they are."""
    solved = steps = samples = 0
    with run.console.phase("demonstrations", once=True):
        for episode in episodes:
            run.stop.check()
            writer.add(episode)
            run.console.progress(len(writer), total)
            solved += episode.success
            steps += len(episode)
            samples += int(episode.sample_start.sum())
    share = solved / max(1, len(writer))
    run.console.note(
        f"{plural(len(writer), 'demonstration')}, {share:.0%} successful, "
        f"{plural(steps, 'step')}, {plural(samples, 'sample')}"
    )


def data_key(config: Config) -> dict[str, object]:
    """Everything that the expert's demonstrations depend on."""
    assert config.imitation is not None
    env = config.env.train
    return {
        "format": FORMAT,
        "version": __version__,
        "simulator": [env.simulator_type, env.init_params.model_dump(mode="json")],
        "limit": env.max_episode_steps,
        "chunk": config.actor.model.num_action_chunks,
        "demonstrations": config.imitation.model_dump(mode="json", include=_OF_DEMONSTRATIONS),
    }


def digest(parts: object) -> str:
    """A short name for settings in JSON types."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
