"""Keeps the frames of a video until they are asked for, as long as there is memory for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rlinf import control_groups

if TYPE_CHECKING:
    from rlinf.envs.episode import Frame

_log = logging.getLogger(__name__)
MEMORY_PERCENT = 90.0  # of the memory in use; Ray ends workers at 95
_LOOK_EVERY = 16  # frames


class Recorder:
    """Frames of one recording after the other.

    Where memory runs short the present recording is given up, whole: half of one would show
    episodes without their beginning. The next one begins when this one has been taken.
    """

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._added = 0
        self.given_up = False

    def add(self, frame: Frame) -> None:
        """Keeps a frame, or drops all of them."""
        if self.given_up:
            return
        if self._added % _LOOK_EVERY == 0 and memory_percent() > MEMORY_PERCENT:
            self.given_up, self._frames = True, []
            _log.warning(
                "more than %.0f %% of the memory is in use: this video is dropped; training is "
                "not affected",
                MEMORY_PERCENT,
            )
            return
        self._frames.append(frame)
        self._added += 1

    def take(self) -> list[Frame]:
        """The frames since the last call; none of a recording that was given up."""
        frames, self._frames = self._frames, []
        self._added, self.given_up = 0, False
        return frames


def memory_percent() -> float:
    """Memory in use, of this machine or of the container it runs in."""
    return control_groups.memory().percent
