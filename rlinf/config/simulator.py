"""What the settings of every simulator have: `env.*.init_params`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar

from rlinf.config.base import Section, Spaces
from rlinf.config.problems import Problem
from rlinf.data.conventions import ActionConvention


class SimulatorParams(Section):
    """Base of all simulator blocks."""

    same_task: ClassVar[tuple[str, ...]] = ()
    """Fields that say how it is computed or drawn, not what: a continued run may change them."""

    @abstractmethod
    def spaces(self) -> Spaces:
        """Observations and actions, as far as the configuration says."""

    def takes(self) -> ActionConvention | None:
        """What the numbers of an action mean; None where it is not declared."""
        return None

    @abstractmethod
    def processes(self, most: int, on_accelerator: bool) -> int:
        """Sub-processes of one stage of an env worker; 0: its sub-envs live in the worker itself.

        Args:
            most: as many as there are sub-envs and cores for.
            on_accelerator: the worker owns one.
        """

    def problems(self, key: str, on_accelerator: bool, num_envs: int) -> Iterator[Problem]:
        """What the simulator would refuse.

        Args:
            key: of this section.
            on_accelerator: whether its process owns an accelerator.
            num_envs: sub-envs of one simulator.
        """
        yield from ()

    def controllers_of(self, action_dim: int) -> tuple[str, ...]:
        """Controllers whose actions have so many numbers, where there is a choice."""
        return ()

    def num_starts(self) -> int:
        """Numbered starts of each task; 0 where any seed is one, or where it is not known."""
        return 0

    def task_id(self) -> str:
        """The simulator's name of the task; empty where there is only one."""
        return ""

    def steps_per_second(self) -> int:
        """Actions per second of simulated time; 20 where a simulator has no clock."""
        return 20

    def task_groups(self) -> tuple[str, ...]:
        """Group of each task, such as the suite it comes from; empty where there are none."""
        return ()

    def episode_steps(self) -> tuple[int, ...]:
        """Step limit of each task within `max_episode_steps`; empty where that is the only one."""
        return ()

    def missing_assets(self) -> tuple[str, str] | None:
        """Files this machine lacks for the task: message and fix; None if nothing is missing."""
        return None

    def packages(self) -> Mapping[str, str]:
        """What the simulator's own Python has to have for these settings, and how to get it."""
        return {}

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Fields that nothing reads with the other settings, and what takes their effect."""
        yield from ()

    def device_bytes(self, envs: int) -> int:
        """GPU memory of one simulator of `envs` sub-envs, or of the renderer of one sub-process,
        where the env worker owns a GPU.
        """
        return 0

    @abstractmethod
    def process_bytes(self) -> int:
        """Host memory of one sub-process, or of the simulator inside the env worker."""

    def shared_bytes(self) -> int:
        """What of that all sub-processes of an env worker have in common, as they are forks of one
        that has imported the simulator; 0 where it was not measured.
        """
        return 0
