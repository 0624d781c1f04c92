"""The 50 activities of the BEHAVIOR challenge of 2025, in their order, with a text for each."""

from __future__ import annotations

from difflib import get_close_matches

from rlinf.errors import UserError

ACTIVITIES: dict[str, str] = {
    "turning_on_radio": "turn the radio on",
    "picking_up_trash": "pick up the soda cans and put them into the trash can",
    "putting_away_Halloween_decorations": (
        "put the pumpkins and candles into the cabinet, close it, and set the cauldron "
        "beside the table"
    ),
    "cleaning_up_plates_and_food": (
        "put the pizzas on plates into the fridge and the bowls into the sink, and close the fridge"
    ),
    "can_meat": (
        "put two sausages into each jar, close the jars, and put them into the cabinet and close it"
    ),
    "setting_mousetraps": "put the mousetraps onto the bathroom floor, two of them at the sink",
    "hiding_Easter_eggs": (
        "take the Easter eggs out of the basket and hide them on the lawn beside a tree"
    ),
    "picking_up_toys": "put the puzzles, board games and tennis balls into the toy box",
    "rearranging_kitchen_furniture": (
        "put the toaster, the food processor and the French press into the cabinet and close it"
    ),
    "putting_up_Christmas_decorations_inside": (
        "put the gifts under the tree, the candles and a candy cane onto the table, and the "
        "wreaths and two candy canes onto the sofa"
    ),
    "set_up_a_coffee_station_in_your_kitchen": (
        "put the coffee maker onto the counter with a filter on it, and the coffee, the "
        "kettle, and the cup on its saucer beside it"
    ),
    "putting_dishes_away_after_cleaning": "put the plates into the cabinet and close it",
    "preparing_lunch_box": (
        "pack the apple halves, the sandwich, the cookie and the tea into the box, and close "
        "the fridge"
    ),
    "loading_the_car": (
        "put the camera into the container, and the container and the tennis racket into the car"
    ),
    "carrying_in_groceries": (
        "bring the tomato and the milk from the car into the fridge, and close both"
    ),
    "bringing_in_wood": "bring the plywood inside and lay it onto the floor",
    "moving_boxes_to_storage": "bring both containers to the garage and stack them",
    "bringing_water": "bring the bottles of water to the coffee table and close the fridge",
    "tidying_bedroom": "put the sandals side by side next to the bed, and the book onto the table",
    "outfit_a_basic_toolbox": (
        "put the tools into the toolbox, close it, and leave it on the tabletop"
    ),
    "sorting_vegetables": (
        "sort the vegetables into the bowls: bok choy with onions, leeks with broccoli, and "
        "the corn by itself"
    ),
    "collecting_childrens_toys": (
        "put the dice, the teddy bears and the board games into the bookcase"
    ),
    "putting_shoes_on_rack": "put the sandals and the gym shoes onto the rack in pairs",
    "boxing_books_up_for_storage": "put the books into the box",
    "storing_food": "put the oatmeal, the chips, the olive oil and the sugar into the cabinets",
    "clearing_food_from_table_into_fridge": (
        "put the pie and the chicken into containers, put these into the fridge, and close it"
    ),
    "assembling_gift_baskets": "put a candle, a cookie, some cheese and a bow into each basket",
    "sorting_household_items": (
        "put the detergent bottles side by side into the cabinet, with the sanitary napkins "
        "beside the deodorant, and the soap dish, the lipstick and the toothbrush to their "
        "places"
    ),
    "getting_organized_for_work": (
        "set up the desk: computer below it, monitor, keyboard and mouse on it, the pen on "
        "the notebook on the folder, and the chair in front"
    ),
    "clean_up_your_desk": (
        "put the folders and books into the bookcase and the pens into the pencil box, and "
        "leave stapler, pencil box and closed laptop on the desk"
    ),
    "setting_the_fire": (
        "lay the firewood onto the newspaper in the fireplace, set both on fire, and turn "
        "the lighter off"
    ),
    "clean_boxing_gloves": "wash the dust off the boxing gloves",
    "wash_a_baseball_cap": "wash the dirt off the baseball caps",
    "wash_dog_toys": "wash the teddy bears, the tennis ball and the softball",
    "hanging_pictures": "hang the poster on the nail in the wall",
    "attach_a_camera_to_a_tripod": "attach the camera to the tripod",
    "clean_a_patio": "clean the mud off the patio",
    "clean_a_trumpet": "clean the dust off the trumpet",
    "spraying_for_bugs": "spray the pot plants with insect spray",
    "spraying_fruit_trees": "spray both trees with pesticide",
    "make_microwave_popcorn": "make popcorn in the microwave, in its bag",
    "cook_cabbage": "dice the cabbage and the chili and cook them in the frying pan",
    "chop_an_onion": (
        "dice the onion into the bowl, and put the knife and the chopping board into the sink"
    ),
    "slicing_vegetables": "dice the zucchini, the bell peppers and the beets, and close the fridge",
    "chopping_wood": "chop the logs in half",
    "cook_hot_dogs": "cook the hot dogs",
    "cook_bacon": "cook the bacon and close the fridge",
    "freeze_pies": (
        "put each pie into a container, put these into the fridge, close it, and let the "
        "pies freeze"
    ),
    "canning_food": (
        "dice the steak and the pineapple into a bowl each, put the bowls into the cabinet, "
        "and close it and the fridge"
    ),
    "make_pizza": "bake a pizza on the cookie sheet",
}
"""Name of the activity in BEHAVIOR-1K -> instruction."""
NAMES = tuple(ACTIVITIES)
INSTANCES = {"training": 200, "evaluation": 10}
"""Starts of an activity: to train on, and those that the challenge evaluates on."""


def select(wanted: str) -> tuple[str, ...]:
    """Activities by name, by index, or by ranges of indices.

    Args:
        wanted: entries with commas between them, such as `turning_on_radio`, `0`, `0-9,49`.

    Raises:
        UserError: an entry names none, or an activity is named twice.
    """
    found: list[str] = []
    for entry in wanted.split(","):
        found += _entry(entry.strip())
    twice = [name for name in dict.fromkeys(found) if found.count(name) > 1]
    if twice:
        raise UserError(f"{wanted} names {twice[0]} twice", "name each activity once")
    return tuple(found)


def _entry(entry: str) -> list[str]:
    if entry in ACTIVITIES:
        return [entry]
    first, dash, last = entry.partition("-")
    if first.isdigit() and (last.isdigit() or not dash):
        begin, end = int(first), int(last or first)
        if begin <= end < len(NAMES):
            return list(NAMES[begin : end + 1])
        raise UserError(
            f"{entry}: the activities are numbered from 0 to {len(NAMES) - 1}, first before last",
            "write for example 0, 0-9 or 0-20,49",
        )
    near = get_close_matches(entry, NAMES, n=1, cutoff=0.5)
    raise UserError(
        f"there is no activity {entry or 'without a name'} among the {len(NAMES)} of the challenge",
        f"write {near[0]}" if near else "write a name, an index, or ranges such as 0-9,49",
    )
