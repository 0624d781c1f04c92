"""The result file of an evaluation: written, read, refused, and put together from shards."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest

from rlinf.errors import UserError
from rlinf.metrics.evaluation import (
    VERSION,
    Shard,
    TrialKey,
    film_name,
    merged,
    newest_evaluation,
    read_evaluation,
)
from tests.unit.metrics.evaluations import SETTINGS, episode, file_of, outcomes

EPISODES = [*outcomes(0, "xx.x"), *outcomes(1, "...x")]


def test_a_file_has_every_trial_with_its_start_its_end_and_its_video(tmp_path):
    key = TrialKey(0, 2, 2, 0)
    file = file_of(EPISODES, videos={key: "video/eval/a.mp4"})
    path = tmp_path / "step_0.json"
    path.write_text(file.text())
    again = read_evaluation(path)
    assert again == file
    assert again.version == VERSION
    (shown,) = [trial for trial in again.episodes if trial.video]
    assert (shown.key, shown.ended, shown.success_once) == (key, "step limit", False)
    assert {trial.ended for trial in again.episodes if trial.success_once} == {"success"}
    assert [(task.task, task.success) for task in again.tasks] == [(0, 0.75), (1, 0.25)]
    assert (again.overall.episodes, again.overall.success) == (8, 0.5)
    # Wilson's interval of 4 in 8.
    assert (round(again.overall.low, 4), round(again.overall.high, 4)) == (0.2152, 0.7848)


def test_categories_have_their_rates(tmp_path):
    file = file_of(EPISODES, groups=["easy", "hard"])
    assert {name: rate.success for name, rate in file.groups.items()} == {
        "easy": 0.75,
        "hard": 0.25,
    }
    assert [task.group for task in file.tasks] == ["easy", "hard"]


def test_how_an_episode_ended_is_told_apart():
    broken = replace(episode(0, 0, False), episode_return=math.nan)
    failed = replace(episode(0, 1, False), terminated=True)
    late = replace(episode(0, 2, True), terminated=False)
    trials = file_of([broken, failed, late]).episodes
    assert [trial.ended for trial in trials] == ["broken", "failure", "step limit"]
    assert trials[0].episode_return is None
    assert "NaN" not in file_of([broken]).text()


def test_a_film_is_named_after_its_trial_and_outcome():
    assert film_name(episode(3, 17, False, 1)) == "task_003-start_00017-repeat_1-failure.mp4"
    assert film_name(episode(0, 2, True)) == "task_000-start_00002-repeat_0-success.mp4"


@pytest.mark.parametrize(
    ("change", "said"),
    [({"version": 99}, "version"), ({"episodes": None}, "episodes"), ({"more": 1}, "more")],
)
def test_a_file_of_another_version_is_refused_with_what_is_wrong(tmp_path, change, said):
    path = tmp_path / "step_0.json"
    path.write_text(json.dumps({**json.loads(file_of(EPISODES).text()), **change}))
    with pytest.raises(UserError, match=rf"version {VERSION}: {said}"):
        read_evaluation(path)


def test_a_folder_stands_for_its_last_evaluation(tmp_path):
    with pytest.raises(UserError, match="no evaluation has finished"):
        newest_evaluation(tmp_path)
    (tmp_path / "eval").mkdir()
    for step in (4, 12, 0):
        (tmp_path / "eval" / f"step_{step}.json").write_text("{}")
    assert newest_evaluation(tmp_path).name == "step_12.json"
    with pytest.raises(UserError, match="cannot be read"):
        read_evaluation(tmp_path / "nothing.json")


def shards(count: int = 3):
    return [
        file_of(
            EPISODES[index::count],
            ["easy", "hard"],
            shard=Shard(index=index, count=count),
            task_id="drawers",
        )
        for index in range(count)
    ]


def test_shards_together_are_the_whole_evaluation():
    whole = file_of(EPISODES, ["easy", "hard"], task_id="drawers")
    assert merged(shards(), ["a", "b", "c"]) == whole
    assert merged(shards()[::-1], ["c", "b", "a"]) == whole


def test_shards_that_do_not_belong_together_are_refused():
    first, second, third = shards()
    with pytest.raises(UserError, match=r"shard 2 of 3 is missing(.|\n)*env.eval.shard=2"):
        merged([first, second], ["a", "b"])
    with pytest.raises(UserError, match="named twice"):
        merged([first, second, third, third], ["a", "b", "c", "d"])
    longer = {**SETTINGS, "env": {**SETTINGS["env"], "max_episode_steps": 20}}
    other = second.model_copy(update={"settings": longer})
    with pytest.raises(UserError, match=r"b and a are not .*\.max_episode_steps = 10 and 20"):
        merged([first, other, third], ["a", "b", "c"])
    trained = second.model_copy(update={"settings": {**SETTINGS, "policy": {"seed": 1}}})
    with pytest.raises(UserError, match="different policies"):
        merged([first, trained, third], ["a", "b", "c"])


def test_shards_of_other_sampling_or_repeats_and_trials_that_stand_twice_are_refused():
    """Each of them alone is a valid file, and the whole would be a rate of nothing."""
    first, second, third = shards()
    for key, value, said in (
        ("sampling", {"do_sample": True}, "algorithm.sampling_params"),
        ("repeats", 2, "algorithm.eval_rollout_epoch"),
    ):
        other = second.model_copy(update={"settings": {**SETTINGS, key: value}})
        with pytest.raises(UserError, match=rf"b and a are not of one evaluation: {said}"):
            merged([first, other, third], ["a", "b", "c"])
    copied = first.model_copy(update={"shard": second.shard})
    with pytest.raises(UserError, match=r"3 trials stand in more than one place, such as task 0"):
        merged([first, copied, third], ["a", "b", "c"])
    empty = [file_of([], ["easy", "hard"], shard=Shard(index=index, count=2)) for index in range(2)]
    with pytest.raises(UserError, match="no shard has a trial"):
        merged(empty, ["a", "b"])


def test_a_shard_without_trials_adds_none():
    """There may be more shards than starts."""
    whole = file_of(EPISODES, ["easy", "hard"], shard=Shard(index=0, count=2))
    empty = file_of([], ["easy", "hard"], shard=Shard(index=1, count=2))
    assert merged([whole, empty], ["a", "b"]) == file_of(EPISODES, ["easy", "hard"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"env": None}}, "settings.env has to be a map"),
        ({"settings": {"env": {"seed": 1}}}, "settings.env has to be a map with max_episode_steps"),
        ({"settings": {"sampling": [1]}}, "settings.sampling has to be a map"),
        ({"tasks": []}, "there are trials of task 0, which is not in tasks"),
        ({"shard": {"index": 2, "count": 2}}, "index 2 is none of 2"),
        ({"shard": {"index": 0, "count": 0}}, "index 0 is none of 0"),
        ({"shard": {"index": -1, "count": 2}}, "shard.index"),
    ],
)
def test_a_file_that_contradicts_itself_is_none_of_ours(tmp_path, change, said):
    plain = json.loads(file_of(EPISODES, ["easy", "hard"]).text()) | change
    (tmp_path / "file.json").write_text(json.dumps(plain))
    with pytest.raises(UserError, match=re.escape(said)):
        read_evaluation(tmp_path / "file.json")


def test_a_trial_or_task_that_stands_twice_is_not_counted_twice(tmp_path):
    for part in ("episodes", "tasks"):
        plain = json.loads(file_of(EPISODES, ["easy", "hard"]).text())
        plain[part].append(plain[part][0])
        (tmp_path / "file.json").write_text(json.dumps(plain))
        with pytest.raises(UserError, match="stands twice"):
            read_evaluation(tmp_path / "file.json")
