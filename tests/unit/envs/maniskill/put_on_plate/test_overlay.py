"""Pictures put together from parts, on pixels small enough to count."""

from __future__ import annotations

import torch
from torch import Tensor

from rlinf.envs.maniskill.put_on_plate.overlay import paste, texture_on_things, texture_over_all


def plain(value: int, height: int = 4, width: int = 6) -> Tensor:
    return torch.full((height, width, 3), value, dtype=torch.uint8)


def kept(*pixels: tuple[int, int]) -> Tensor:
    mask = torch.zeros((4, 6), dtype=torch.bool)
    for row, column in pixels:
        mask[row, column] = True
    return mask


def test_kept_pixels_are_rendered_ones_and_all_others_are_of_the_photo() -> None:
    frame = paste(plain(10), kept((1, 2), (3, 5)), plain(200))
    assert frame.dtype == torch.uint8
    assert (frame == 10).sum() == 2 * 3
    assert (frame[1, 2] == 10).all() and (frame[3, 5] == 10).all()


def test_a_texture_is_laid_on_the_box_of_the_things_and_blended_into_them_alone() -> None:
    """0.7 * 100 + 0.3 * 201 = 130.3, cut off to 130; the photo stays 50."""
    mask = kept((1, 1), (2, 3))
    frame = paste(plain(100), mask, plain(50))
    blended = texture_on_things(frame, mask, plain(201), 0.3)
    assert (blended[mask] == 130).all()
    assert (blended[~mask] == 50).all()


def test_a_texture_is_scaled_to_the_box_of_the_things() -> None:
    """A texture with a dark left and a bright right half, on a box that is two columns wide."""
    texture = plain(0)
    texture[:, 3:] = 240
    mask = kept((1, 4), (1, 5))
    blended = texture_on_things(plain(100), mask, texture, 0.5)
    assert blended[1, 4, 0] < 60 and blended[1, 5, 0] > 160


def test_a_texture_over_all_moves_with_the_things() -> None:
    """Its brightness grows to the right; things further right show a brighter part of it."""
    texture = torch.arange(6, dtype=torch.uint8).mul(40).view(1, 6, 1).expand(4, 6, 3)
    left = texture_over_all(plain(100), kept((1, 1)), texture, 0.5)
    right = texture_over_all(plain(100), kept((1, 5)), texture, 0.5)
    assert left.shape == (4, 6, 3) and left.dtype == torch.uint8
    assert (right.int() > left.int()).float().mean() > 0.9


def test_without_things_in_view_a_frame_still_comes_out() -> None:
    frame = texture_on_things(plain(50), kept(), plain(200), 0.5)
    assert (frame == 50).all()
    assert (texture_over_all(plain(50), kept(), plain(200), 0.5) == 125).all()
