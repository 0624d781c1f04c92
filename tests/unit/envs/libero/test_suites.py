"""All 130 tasks, without building them."""

from __future__ import annotations

from rlinf.envs.libero import package
from rlinf.envs.libero.config import LiberoParams
from rlinf.envs.libero.suites import tasks_of


def test_the_union_has_130_tasks_of_50_states_and_the_instructions_of_the_protocols():
    package.prepare("auto")
    tasks = tasks_of(LiberoParams(task_suite_name="libero_130"))
    assert len(tasks) == 130
    texts = [task.instruction for task in tasks]
    assert len(set(texts)) == 112
    assert all(task.problem.is_file() for task in tasks)
    # The sentence inside the problem file of the first one says "pick the akita black bowl ...".
    assert texts[0] == (
        "pick up the black bowl between the plate and the ramekin and place it on the plate"
    )
    assert texts[10] == "pick up the alphabet soup and place it in the basket"
    assert texts[30] == "close the top drawer of the cabinet"  # KITCHEN_SCENE10_... without it
    assert texts[120] == "put both the alphabet soup and the tomato sauce in the basket"
    # 1 + nq + nv of the first task of the small suites.
    widths = [tasks[index].init_states().shape for index in (0, 10, 20, 120)]
    assert widths == [(50, 92), (50, 110), (50, 79), (50, 123)]


def test_chosen_tasks_are_those_of_the_whole_suite():
    package.prepare("auto")
    whole = tasks_of(LiberoParams(task_suite_name="libero_130"))
    chosen = tasks_of(LiberoParams(task_suite_name="libero_130", task_ids=(125, 3)))
    assert chosen == (whole[125], whole[3])
    assert tasks_of(LiberoParams(task_suite_name="libero_10", task_ids=(5,))) == chosen[:1]
