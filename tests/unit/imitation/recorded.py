"""Episodes whose every picture can be recognised again."""

from __future__ import annotations

import numpy as np

from rlinf.imitation.episode import Episode

A, S = 7, 3


def numbered_picture(number: int, size: int) -> np.ndarray:
    """[size, size, 3] uint8: the number in 16 blocks, black for 0 and white for 1.

    A lossy video moves grey values by a little, never black to white.
    """
    bits = [(number >> bit) & 1 for bit in range(16)]
    blocks = np.array(bits, np.uint8).reshape(4, 4) * 255
    return np.kron(blocks, np.ones((size // 4, size // 4), np.uint8))[..., None].repeat(3, -1)


def number_of(picture: np.ndarray) -> int:
    """What `numbered_picture` shows."""
    size = len(picture) // 4
    blocks = picture[..., 0].reshape(4, size, 4, size).mean(axis=(1, 3)) > 127
    return int(sum(int(bit) << place for place, bit in enumerate(blocks.reshape(-1))))


def episode(
    index: int, length: int, success: bool = True, views: int = 1, size: int = 64
) -> Episode:
    """Step t of episode i shows the number 100 i + t in view 0, and 1000 more in each other."""
    steps = np.arange(length)
    images = np.stack(
        [
            [numbered_picture(1000 * view + 100 * index + t, size) for view in range(views)]
            for t in steps
        ]
    )
    rng = np.random.default_rng(index)
    actions = rng.uniform(-1, 1, (length, A)).astype(np.float32)
    actions[:, 6] = 0.5
    state = np.stack([np.full(length, index), steps, steps / 3], axis=1).astype(np.float32)
    start = np.arange(length) % 3 != 2
    return Episode(images, state, actions, start, f"do task {index % 2}", success)
