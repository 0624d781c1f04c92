"""The distorted pictures of LIBERO-Plus, by the functions of its own package."""

from __future__ import annotations

from importlib import import_module

import numpy as np

KINDS = ("motion_blur", "gaussian_blur", "zoom_blur", "fog", "glass_blur")
"""Functions of the package; numbers 1 to 10 are the first one's degrees, and so on."""
DEGREES = 10


def chosen(noise: int) -> tuple[str, int]:
    """Function and degree (1 to 10) of a distortion's number, which begins at 1."""
    kind, degree = divmod(noise - 1, DEGREES)
    return KINDS[kind], degree + 1


def distorted(pixels: np.ndarray, noise: int) -> np.ndarray:
    """[256, 256, 3] uint8; it draws from NumPy's global generator.

    Args:
        pixels: [256, 256, 3] uint8 as OpenGL has it, upside down.
        noise: number of the distortion, from 1 on.
    """
    from PIL import Image

    name, degree = chosen(noise)
    library = import_module("liberoplus.liberoplus.envs.env_wrapper")
    picture: np.ndarray = getattr(library, name)(Image.fromarray(pixels), severity=degree)
    return picture.astype(np.uint8)
