from __future__ import annotations

import re
from pathlib import Path

from rlinf.runners import train

PACKAGE = Path(train.__file__).parents[1]
LINE = re.compile(r"^ +(?:(\w+)\.)?(\w+)  +([\w/<>]+(?:\.py)?/?)", re.M)


def test_the_call_chain_names_functions_that_exist_where_it_says_so():
    chain = LINE.findall(train.__doc__)
    assert [name for _, name, _ in chain][:2] == ["iterate", "take"] and len(chain) == 13
    for owner, name, place in chain:
        path = PACKAGE / ("envs/base.py" if "<" in place else place)
        text = path.read_text()
        assert re.search(rf"^ *def {name}\(", text, re.M), (name, place)
        own = owner if owner != "TrainStage" else "PartialResetStage"
        assert not owner or re.search(rf"^class {own}\b", text, re.M), (owner, place)
