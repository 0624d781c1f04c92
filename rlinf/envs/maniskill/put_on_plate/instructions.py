"""How an episode's task is said. Index 0 is the phrasing of training, 1 to 16 those of testing."""

from __future__ import annotations

PHRASINGS: tuple[str, ...] = (
    "put {object} on {plate}",
    "Place the {object} on the {plate}",
    "set {object} on {plate}",
    "move the {object} to the {plate}",
    "Take the {object} and put it on the {plate}",
    "pick up {object} and set it down on {plate}",
    "please put the {object} on the {plate}",
    "Put {object} onto {plate}.",
    "place the {object} onto the {plate} surface",
    "Make sure {object} is on {plate}.",
    "on the {plate}, put the {object}",
    "put the {object} where the {plate} is",
    "Move the {object} from the table to the {plate}",
    "Move {object} so it\N{RIGHT SINGLE QUOTATION MARK}s on {plate}.",
    "Can you put {object} on {plate}?",
    "{object} on the {plate}, please.",
    "the {object} should be placed on the {plate}.",
)


def say(phrasing: int, object_name: str, plate_name: str) -> str:
    """The instruction of an episode."""
    return PHRASINGS[phrasing].format(object=object_name, plate=plate_name)
