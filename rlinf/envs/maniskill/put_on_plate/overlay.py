"""The picture a policy sees: simulated arm and objects pasted onto a photo of a table.

Everything is computed for one env at a time, so that a picture does not depend on which other envs
are shown with it. Letters: H, W height and width in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def paste(rendered: Tensor, kept: Tensor, photo: Tensor) -> Tensor:
    """The rendered pixels where `kept`, the photo everywhere else.

    Args:
        rendered: [H, W, 3] uint8.
        kept: [H, W] bool.
        photo: [H, W, 3] uint8.
    """
    return torch.where(kept[..., None], rendered, photo)


def texture_on_things(frame: Tensor, kept: Tensor, texture: Tensor, weight: float) -> Tensor:
    """Blends a texture into the kept pixels; it moves and scales with the box around them.

    Args:
        frame: [H, W, 3] uint8, what `paste` gave.
        kept: [H, W] bool.
        texture: [H, W, 3] uint8.
        weight: of the texture, 0 to 1.
    """
    if not kept.any():
        return frame
    top, bottom, left, right = _box(kept)
    part = (slice(top, bottom + 1), slice(left, right + 1))
    pattern = _resize(texture, bottom + 1 - top, right + 1 - left)
    mixed = _blend(frame[part], pattern, weight)
    result = frame.clone()
    result[part] = torch.where(kept[part][..., None], mixed, frame[part])
    return result


def texture_over_all(frame: Tensor, kept: Tensor, texture: Tensor, weight: float) -> Tensor:
    """Blends a texture of twice the size over the frame; it shifts with the things that move.

    Arguments as for `texture_on_things`.
    """
    height, width = kept.shape
    y = x = 1
    if kept.any():
        top, bottom, left, right = _box(kept)
        y = min(max((top + bottom) // 2, 1), height - 1)
        x = min(max((left + right) // 2, 1), width - 1)
    pattern = _resize(texture, 2 * height, 2 * width)[y : y + height, x : x + width]
    return _blend(frame, pattern, weight)


def _box(kept: Tensor) -> tuple[int, int, int, int]:
    """First and last row, first and last column with a kept pixel."""
    rows, columns = kept.any(dim=1).nonzero()[:, 0], kept.any(dim=0).nonzero()[:, 0]
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def _resize(texture: Tensor, height: int, width: int) -> Tensor:
    """[height, width, 3] float32, bilinear."""
    planes = texture.permute(2, 0, 1)[None].float()
    return interpolate(planes, (height, width), mode="bilinear")[0].permute(1, 2, 0)


def _blend(frame: Tensor, pattern: Tensor, weight: float) -> Tensor:
    """(1 - weight) frame + weight pattern, cut off to whole grey levels."""
    return ((1 - weight) * frame.float() + weight * pattern).clamp(0, 255).to(torch.uint8)
