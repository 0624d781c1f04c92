"""Activities: how they are chosen, and that BEHAVIOR-1K's own package has each of them."""

from __future__ import annotations

import json
import subprocess

import pytest

from rlinf.envs.behavior.challenge import ACTIVITIES, NAMES, select
from rlinf.errors import UserError
from tests import pythons

GOALS = """
import json, sys
from bddl.activity import Conditions
def goal(name):
    conditions = Conditions(name, 0, simulator_name="omnigibson")
    return len(conditions.parsed_goal_conditions), str(conditions.parsed_goal_conditions[0])
print(json.dumps({name: goal(name) for name in json.loads(sys.argv[1])}))
"""


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ("turning_on_radio", [0]),
        ("0", [0]),
        ("0-2, 49", [0, 1, 2, 49]),
        ("make_pizza,0", [49, 0]),
        ("0-49", list(range(50))),
    ],
)
def test_activities_are_chosen_by_name_index_and_range(wanted: str, places: list[int]):
    assert select(wanted) == tuple(NAMES[place] for place in places)


@pytest.mark.parametrize(
    ("wanted", "said", "fix"),
    [
        ("turn_on_radio", "no activity turn_on_radio", "write turning_on_radio"),
        ("50", "numbered from 0 to 49", "0-20,49"),
        ("3-1", "first before last", "0-9"),
        ("0-3,turning_on_radio", "names turning_on_radio twice", "once"),
        ("", "no activity without a name", "ranges such as"),
        ("-1", "no activity -1", "ranges such as"),
    ],
)
def test_a_wrong_choice_is_told_with_the_right_form(wanted: str, said: str, fix: str):
    with pytest.raises(UserError, match=said) as caught:
        select(wanted)
    assert fix in caught.value.fix


def test_every_activity_has_a_text_of_its_own_that_says_more_than_its_name():
    assert len(set(ACTIVITIES.values())) == 50
    for name, text in ACTIVITIES.items():
        assert text[0].islower() and text[-1] != "." and "_" not in text
        assert len(text.split()) >= 3, name


def test_bddl_has_every_activity_with_a_goal():
    python = pythons.with_bddl()
    if python is None:
        pytest.skip("needs the package bddl: python tests/pythons.py")
    asked = subprocess.run(
        [python, "-c", GOALS, json.dumps(NAMES)], capture_output=True, text=True, check=True
    )
    goals = json.loads(asked.stdout.splitlines()[-1])
    assert list(goals) == list(NAMES)
    assert all(count >= 1 for count, _ in goals.values())
    assert goals["turning_on_radio"] == [1, "['toggled_on', '?radio_receiver.n.01_1']"]
