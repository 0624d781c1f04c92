"""Padding: with `masked` no row depends on its neighbours, with `flash` it does, as recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlinf.models.gr00t import folder as folders
from rlinf.models.gr00t import network
from rlinf.models.gr00t.backbone import Padding
from rlinf.models.gr00t.inputs import Gr00tPrompts
from rlinf.models.gr00t.network import Gr00t
from tests.tiny_gr00t import SIDE

TEXTS = ("go", "put the bowl on the plate", "open it", "a much longer instruction than the others")


@pytest.fixture(scope="module")
def model(model_folder: Path) -> tuple[Gr00t, Gr00tPrompts]:
    folder = folders.read(model_folder, None)
    found = Gr00t(folder)
    found.load_state_dict(network.read(folder, found.state_dict(), torch.float32)[0])
    return found.eval(), Gr00tPrompts(folder, 2)


def velocities(
    model: tuple[Gr00t, Gr00tPrompts], rows: list[int], padding: Padding
) -> torch.Tensor:
    """Of the given rows, computed as one batch."""
    generator = torch.Generator().manual_seed(0)
    count = len(TEXTS)
    pixels = torch.randn(count, 2, 3, SIDE, SIDE, generator=generator)[rows].flatten(0, 1)
    state = torch.randn(count, 1, 10, generator=generator)[rows]
    x = torch.randn(count, 4, 8, generator=generator)[rows]
    net, prompts = model
    ids, real = prompts.batch([TEXTS[row] for row in rows])
    with torch.inference_mode():
        looked = net.look(net.features(ids, real, pixels, padding), real, state, 31, padding)
        return net.action_head(looked, x, torch.full((len(rows),), 250))[0]


@pytest.mark.parametrize("rows", [[0, 1], [3, 0], [0, 1, 2, 3], [2, 2, 3]])
def test_masked_rows_do_not_depend_on_their_neighbours(
    model: tuple[Gr00t, Gr00tPrompts], rows: list[int]
):
    together = velocities(model, rows, "masked")
    for place, row in enumerate(rows):
        alone = velocities(model, [row], "masked")[0]
        assert (together[place] - alone).abs().max() < 1e-5


def test_visible_padding_changes_actions(model: tuple[Gr00t, Gr00tPrompts]):
    together, alone = velocities(model, [0, 3], "flash"), velocities(model, [0], "flash")
    assert (together[0] - alone[0]).abs().max() > 1e-3


def test_without_padding_both_ways_are_one(model: tuple[Gr00t, Gr00tPrompts]):
    assert torch.equal(velocities(model, [1], "masked"), velocities(model, [1], "flash"))
