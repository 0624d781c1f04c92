"""The sets of the out-of-distribution evaluation."""

from __future__ import annotations

from collections import Counter

from rlinf.data.types import EpisodeResult, Start
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.envs.maniskill.put_on_plate.benchmark import ood
from rlinf.envs.maniskill.put_on_plate.cases import CaseSet


def episode(trial: int) -> EpisodeResult:
    return EpisodeResult(0, Start(0, trial, 1), 80, 0.0, False, False, False)


def test_the_published_groups_have_1_5_7_and_3_sets() -> None:
    groups = Counter(part.group for part in ood().sets)
    assert groups == {"Training setting": 1, "Vision": 5, "Semantic": 7, "Execution": 3}


def test_every_set_exists_and_has_a_name_of_its_own() -> None:
    assert len({part.name for part in ood().sets}) == 16
    for part in ood().sets:
        ManiskillParams(**part.init_params)
        assert CaseSet(part.init_params["id"], part.init_params["obj_set"]).total > 200_000


def test_episodes_without_a_distractor_are_counted() -> None:
    """The last three digits of MultiCarrot test have 16 * 2104 * 4 values; extra 1 is alone."""
    by_name = {part.name: part for part in ood().sets}
    step = 16 * 2104 * 4
    found = by_name["PutOnPlateInScene25MultiCarrot-v1-test"].remarks(
        [episode(0), episode(step), episode(2 * step)]
    )
    assert found == ["1 of 3 episodes had no distractor"]
    assert by_name["PutOnPlateInScene25MultiCarrot-v1-train"].remarks([episode(step)]) == []
