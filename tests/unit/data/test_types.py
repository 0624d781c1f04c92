from __future__ import annotations

import inspect
import re
import textwrap

import numpy as np

from rlinf.data import types

CLASSES = [
    c for _, c in inspect.getmembers(types, inspect.isclass) if c.__module__ == types.__name__
]


def test_every_class_has_an_example():
    assert len(CLASSES) > 8
    assert [c.__name__ for c in CLASSES if "Example:" not in inspect.getdoc(c)] == []


def test_an_example_in_a_block_of_its_own_can_be_built():
    """Names that it leaves open stand for other values of this module."""
    known = {**vars(types), "np": np, "chunk": None, "shown": None, "nothing": None, "result": None}
    built = []
    for one in CLASSES:
        block = re.search(r"Example:.*?::\n\n((?:    .*\n?|\n)+)", inspect.getdoc(one))
        if block is not None:
            code = textwrap.dedent(block[1])
            if code.startswith(one.__name__):
                built.append(eval(code, known))
                assert isinstance(built[-1], one)
            else:
                exec(code, dict(known))
    assert len(built) == 6
