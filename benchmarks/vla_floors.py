"""Floating-point operations and bytes that OpenVLA's forward pass cannot do without.

A multiplication and an addition are two operations. P_mat are the parameters in matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlinf.models.prismatic.model_folder import ACTION_BINS, Architecture, Tower

TEXT = 24  # tokens of a prompt, as in the benchmark's instruction


@dataclass(frozen=True, slots=True)
class Work:
    """What one forward pass of a batch costs at least."""

    flop: float
    bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.bytes + other.bytes)

    def seconds(self, flop_per_second: float, bytes_per_second: float) -> float:
        """By whichever is the narrower: arithmetic or memory."""
        return max(self.flop / flop_per_second, self.bytes / bytes_per_second)


def phases(
    architecture: Architecture, batch: int, parallel: bool, tokens: int, width: int
) -> list[Work]:
    """The passes of one `act`, one after the other.

    Args:
        batch: observations of one image each.
        parallel: all tokens in one bidirectional pass, or one after the other.
        tokens: action tokens of an observation.
        width: bytes of a parameter.
    """
    sees = _vision(architecture, batch, width)
    length = architecture.patches + TEXT
    if parallel:
        read = _language(architecture, batch, length + tokens, length + tokens, tokens, width)
        return [sees + read]
    prefill = _language(architecture, batch, length, length / 2, 1, width)
    steps = [_language(architecture, batch, 1, length + k, 1, width) for k in range(1, tokens)]
    return [sees + prefill, *steps]


def _vision(architecture: Architecture, batch: int, width: int) -> Work:
    features, hidden, out = architecture.projector
    projector = features * hidden + hidden * out + out * out
    weights = float(projector)
    flop = 2.0 * projector * architecture.patches
    for tower in architecture.towers:
        length = tower.patches + tower.prefix
        weights += _tower_matrices(tower)
        flop += 2.0 * _tower_matrices(tower) * length
        flop += 4.0 * length * length * tower.width * (tower.depth - 1)
    return Work(batch * flop, weights * width)


def _tower_matrices(tower: Tower) -> int:
    block = 4 * tower.width**2 + 2 * tower.width * tower.mlp_width
    return (tower.depth - 1) * block + 3 * tower.patch**2 * tower.width


def _language(
    architecture: Architecture,
    batch: int,
    length: int,
    seen: float,
    predicted: int,
    width: int,
) -> Work:
    """`length` new positions that each see `seen` positions, `predicted` of them give logits.

    In the last layer the others give only their keys and values.
    """
    size, layers = architecture.width, architecture.layers
    key_size = architecture.key_heads * size // architecture.heads
    keys = 2 * size * key_size  # of a layer, and values
    rest = 2 * size**2 + 3 * size * architecture.mlp_width
    head = ACTION_BINS * size
    computed = (layers - 1) * length + predicted  # positions of layers
    attention = 4.0 * size * computed * seen
    cache = 2.0 * layers * key_size * seen * width * batch if length == 1 else 0.0
    flop = 2.0 * (keys * layers * length + rest * computed + head * predicted) + attention
    return Work(batch * flop, (layers * (keys + rest) + head) * width + cache)
