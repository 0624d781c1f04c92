"""The out-of-distribution evaluation of Liu et al. (arXiv 2505.19789, section 3), 16 sets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from rlinf.data.types import EpisodeResult
from rlinf.envs.benchmarks import Benchmark, BenchmarkSet
from rlinf.envs.maniskill.put_on_plate.cases import PREFIX, CaseSet, ObjectSet

_SETS: tuple[tuple[str, str, ObjectSet], ...] = (
    ("Training setting", "Carrot-v1", "train"),
    ("Vision", "VisionImage-v1", "test"),
    ("Vision", "VisionTexture03-v1", "test"),
    ("Vision", "VisionTexture05-v1", "test"),
    ("Vision", "VisionWhole03-v1", "test"),
    ("Vision", "VisionWhole05-v1", "test"),
    ("Semantic", "Carrot-v1", "test"),
    ("Semantic", "Plate-v1", "test"),
    ("Semantic", "Instruct-v1", "test"),
    ("Semantic", "MultiCarrot-v1", "train"),
    ("Semantic", "MultiCarrot-v1", "test"),
    ("Semantic", "MultiPlate-v1", "train"),
    ("Semantic", "MultiPlate-v1", "test"),
    ("Execution", "Position-v1", "test"),
    ("Execution", "EEPose-v1", "test"),
    ("Execution", "PositionChangeTo-v1", "test"),
)


def ood() -> Benchmark:
    """The benchmark `maniskill_ood`."""
    return Benchmark(
        title="PutOnPlateInScene25, out of distribution",
        simulator_type="maniskill",
        sets=tuple(_one(group, PREFIX + name, obj_set) for group, name, obj_set in _SETS),
        within="Training setting",
        remarks=(
            "VisionTexture and VisionWhole take the texture that the episode id names, as in the "
            "paper's own code, and scale it to the things of the one env that is shown.",
            "Episodes are drawn from env.eval.seed; which published ones were used is not known.",
        ),
    )


def _one(group: str, env_id: str, obj_set: ObjectSet) -> BenchmarkSet:
    found = BenchmarkSet(f"{env_id}-{obj_set}", group, {"id": env_id, "obj_set": obj_set})
    if not env_id.endswith("MultiCarrot-v1"):
        return found
    remarks = partial(_without_distractor, CaseSet(env_id, obj_set))
    return BenchmarkSet(found.name, found.group, found.init_params, remarks)


def _without_distractor(cases: CaseSet, episodes: Sequence[EpisodeResult]) -> list[str]:
    """The published mapping names the object itself as distractor in part of the test episodes."""
    trials = np.array([episode.start.trial for episode in episodes], np.int64)
    alone = int((cases.decode(trials).other_object == -1).sum())
    return [f"{alone} of {len(episodes)} episodes had no distractor"] if alone else []
