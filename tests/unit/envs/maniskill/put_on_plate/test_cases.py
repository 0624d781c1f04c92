"""What an episode id stands for, against the published task and against worked-out numbers."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.envs.maniskill.put_on_plate import poses
from rlinf.envs.maniskill.put_on_plate.cases import OBJECTS, PREFIX, VARIANTS, Cases, CaseSet
from rlinf.envs.maniskill.put_on_plate.instructions import say
from rlinf.envs.maniskill.put_on_plate.poses import Heights
from tests.unit.envs.maniskill.put_on_plate import golden
from tests.unit.envs.maniskill.put_on_plate.golden import needs_recordings


def decode(name: str, obj_set: str, *ids: int) -> Cases:
    return CaseSet(PREFIX + name, obj_set).decode(np.array(ids))


def test_the_digits_of_an_id_from_the_last_to_the_first() -> None:
    """123456 = 39 * 3136 + 1152 with 3136 = 784 * 4: 1152 = 288 * 4 + 0; 39 = 2 * 16 + 7."""
    case = decode("Main-v3", "train", 123_456)
    assert (case.object[0], case.background[0]) == (2, 7)
    assert (case.position[0], case.rotation[0]) == (288, 0)
    np.testing.assert_allclose(case.object_p[0], [-0.175, -0.075, 0.90])
    np.testing.assert_allclose(case.plate_p[0], [-0.175, 0.045, 0.90])


def test_every_id_of_a_set_is_another_case_and_together_they_cover_all_values() -> None:
    cases = CaseSet(PREFIX + "Main-v3", "test")
    assert cases.total == 9 * 5 * 784 * 4
    digits = cases.digits(np.arange(cases.total))
    seen = np.unique(np.stack(list(digits.values())), axis=1)
    assert seen.shape[1] == cases.total
    assert set(digits["object"]) == set(range(16, 25))
    assert set(digits["background"]) == set(range(16, 21))


def test_an_id_beyond_the_last_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        decode("Main-v3", "train", 802_816)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_first_and_the_last_id_of_every_set_can_be_decoded(name: str) -> None:
    for obj_set, axes in VARIANTS[name].sets.items():
        cases = CaseSet(PREFIX + name, obj_set)
        first, last = (cases.digits(np.array([i])) for i in (0, cases.total - 1))
        assert all(first[key][0] == getattr(axes, key).start for key in first)
        assert all(last[key][0] == getattr(axes, key).stop - 1 for key in last)
        case = cases.decode(np.array([0, cases.total - 1]))
        assert set(case.object) <= set(cases.objects)
        assert set(case.plate) | set(case.other_plate) <= set(cases.plates) | {-1}


def test_a_distractor_is_another_thing_and_where_the_published_rule_fails_there_is_none() -> None:
    """Test ids of MultiCarrot-v1 have 8 extra digits; extra = 1 names the object itself."""
    cases = CaseSet(PREFIX + "MultiCarrot-v1", "test")
    case = cases.decode(np.arange(0, cases.total, 2104 * 4))
    alone = case.other_object == -1
    assert alone.mean() == 1 / 8
    np.testing.assert_array_equal(alone, case.extra == 1)
    assert not (case.other_object == case.object).any()
    np.testing.assert_array_equal(case.object_p[alone], case.third_p[alone])
    plates = CaseSet(PREFIX + "MultiPlate-v1", "test")
    case = plates.decode(np.arange(0, plates.total, 2104 * 4 * 21))
    assert not (case.other_plate == case.plate).any()
    assert set(case.other_plate) == set(range(1, 17))


def test_things_of_a_row_are_never_in_each_other() -> None:
    for table in (poses.pairs, poses.pairs_and_ring, poses.two_objects, poses.two_plates):
        points = table(Heights(0.9, 0.9, 0.9))
        for a in range(points.shape[1]):
            for b in range(a):
                assert np.linalg.norm(points[:, a] - points[:, b], axis=1).min() > 0.07


def test_phrasings_name_object_and_plate() -> None:
    assert say(0, "7up can", "plate") == "put 7up can on plate"
    assert say(13, "carrot", "pizza") == "Move carrot so it\u2019s on pizza."
    for phrasing in range(17):
        assert "carrot" in say(phrasing, "carrot", "pizza")
        assert "pizza" in say(phrasing, "carrot", "pizza")


@needs_recordings
def test_pose_tables_are_those_of_the_published_task_bit_for_bit() -> None:
    with np.load(golden.FOLDER / "pose_tables.npz") as tables:
        for ours, theirs in (
            (poses.pairs(Heights(0.90, 0.90, 0.90)), tables["main"]),
            (poses.pairs_and_ring(Heights(0.95, 0.95, 0.95))[784:], tables["position_ood"]),
            (poses.two_objects(Heights(0.95, 0.92, 1.00)), tables["multi_object"]),
            (poses.two_plates(Heights(1.00, 0.92, 0.96)), tables["multi_plate"]),
            (poses.joint_offsets(), tables["ee_joint_offsets"]),
        ):
            np.testing.assert_array_equal(ours, theirs)


@needs_recordings
def test_every_set_has_as_many_episodes_as_the_published_one() -> None:
    recorded = golden.totals()
    assert len(recorded) == 17
    for (env_id, obj_set), total in recorded.items():
        assert CaseSet(env_id, obj_set).total == total, (env_id, obj_set)


@needs_recordings
@pytest.mark.parametrize("env_id", sorted({row["env_id"] for row in golden.rows()}))
def test_ids_stand_for_the_published_cases(env_id: str) -> None:
    for row in golden.rows():
        if row["env_id"] != env_id:
            continue
        case = CaseSet(env_id, row["obj_set"]).decode(np.array([row["episode_id"]]))
        for digit in ("object", "plate", "background", "position", "rotation"):
            assert getattr(case, digit)[0] == row[f"{digit}_index"], (digit, row)
        for ours, theirs in (
            (case.object_p, row["object_p"]),
            (case.object_q, row["object_q_wxyz"]),
            (case.plate_p, row["plate_p"]),
            (case.joints, row["qpos"]),
        ):
            np.testing.assert_allclose(ours[0], theirs, atol=1e-6)
        if "extra_index" in row:
            named = {int(case.extra[0]), int(case.other_object[0]), int(case.other_plate[0])}
            alone = env_id.endswith("MultiCarrot-v1") and row["extra_index"] == case.object[0]
            assert row["extra_index"] in named or alone
        if "extra_p" in row:
            np.testing.assert_allclose(case.third_p[0], row["extra_p"], atol=1e-6)


def test_every_object_belongs_to_training_or_to_testing() -> None:
    train, test = (CaseSet(PREFIX + "Main-v3", part).objects for part in ("train", "test"))
    assert sorted([*train, *test]) == list(range(OBJECTS))
