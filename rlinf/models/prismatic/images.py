"""From camera images (uint8) to what the vision towers take, batched and on the device.

Each way of resizing gives the very numbers of the code that a published model was trained with.
Resizing is separable and every output pixel is a weighted sum of a few input pixels, so a resize is
two gathers; rounding in between and at the end is what the originals differ in.

Letters: N pictures, H height, W width, S side of the model's picture.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlinf.models.prismatic.recipes import ImagePath

# First for DINOv2 (ImageNet's statistics), second for SigLIP.
_MEANS = ((0.485, 0.456, 0.406), (0.5, 0.5, 0.5))
_STDS = ((0.229, 0.224, 0.225), (0.5, 0.5, 0.5))
_CROP_SIDE = float(np.sqrt(np.float32(0.9)))  # of the picture: 90 % of its area
_PILLOW_BITS = 22  # fixed-point weights of Pillow for 8-bit pictures


def prepare(
    images: np.ndarray,
    size: int,
    path: ImagePath,
    center_crop: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """[B, V, H, W, 3] uint8 to [B, V, 6, S, S], normalised for one tower, then for the other."""
    rows, views, height, width = images.shape[:4]
    flat = images.reshape(rows * views, height, width, 3)
    if path == "jpeg":
        flat = jpeg_round_trip(flat)
    elif path == "pillow" and device.type == "cpu" and (height, width) != (size, size):
        flat = pillow_resize(flat, size)
    pixels = torch.from_numpy(np.ascontiguousarray(flat)).to(device).permute(0, 3, 1, 2)
    pixels = resize(pixels, size, path)
    if center_crop:
        pixels = crop_center(pixels, size)
    return normalize(pixels).to(dtype).view(rows, views, 6, size, size)


def resize(pixels: Tensor, size: int, path: ImagePath) -> Tensor:
    """[N, 3, H, W] uint8 to [N, 3, S, S] uint8; a picture of that size stays as it is."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    return {"pillow": _like_pillow, "tensor": _like_torchvision, "jpeg": _like_tensorflow}[path](
        pixels, size
    )


def normalize(pixels: Tensor) -> Tensor:
    """[N, 3, S, S] uint8 to [N, 6, S, S] float32."""
    unit = pixels.float() / 255.0
    mean = torch.tensor(_MEANS, device=unit.device).view(2, 3, 1, 1)
    std = torch.tensor(_STDS, device=unit.device).view(2, 3, 1, 1)
    return ((unit.unsqueeze(1) - mean) / std).flatten(1, 2)


def crop_center(pixels: Tensor, size: int) -> Tensor:
    """The middle 90 % of the area, back at full size: [N, 3, H, W] uint8 to [N, 3, S, S] uint8.

    Bilinear without antialiasing and with the corners of the box on the corners of the result, as
    TensorFlow's crop_and_resize; x becomes floor(255.5 x) as in its convert_image_dtype.
    """
    image = pixels.float() * (1.0 / 255.0)  # not divided: the last bit differs
    image = _interpolate(_interpolate(image, 3, size), 2, size)
    return (image.clamp(0, 1) * 255.5).floor().clamp(max=255).to(torch.uint8)


def jpeg_round_trip(images: np.ndarray) -> np.ndarray:
    """[N, H, W, 3] uint8, each compressed at quality 95 and read again, as the originals' episodes.

    Bit for bit what TensorFlow's encoder and its fast decoder give.
    """
    with ThreadPoolExecutor(max_workers=min(8, len(images))) as pool:
        return np.stack(list(pool.map(_through_jpeg, images)))


def pillow_resize(images: np.ndarray, size: int) -> np.ndarray:
    """[N, H, W, 3] uint8 to [N, S, S, 3] uint8 by Pillow itself: several times faster on a CPU.

    First the width and then the height, as the Pillow of the originals did. Left to itself Pillow
    13 begins with the height of some upright pictures, and levels differ by up to 11.
    """
    from PIL import Image

    def resized(picture: np.ndarray) -> np.ndarray:
        narrow = Image.fromarray(picture).resize((size, len(picture)), Image.Resampling.BICUBIC)
        return np.asarray(narrow.resize((size, size), Image.Resampling.BICUBIC))

    return np.stack([resized(picture) for picture in images])


def _through_jpeg(image: np.ndarray) -> np.ndarray:
    import io

    import simplejpeg
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95, subsampling=2)
    return simplejpeg.decode_jpeg(buffer.getvalue(), fastdct=True, fastupsample=False)


# --- resizing ------------------------------------------------------------------------------------


def _like_torchvision(pixels: Tensor, size: int) -> Tensor:
    resized = functional.interpolate(
        pixels.float(), (size, size), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.clamp(0, 255).round().to(torch.uint8)


def _like_pillow(pixels: Tensor, size: int) -> Tensor:
    """Bicubic: width, then height, each in fixed-point numbers and rounded to 8 bits."""
    half = 1 << (_PILLOW_BITS - 1)
    result = pixels.int()
    for axis in (3, 2):
        first, weights = _taps(result.shape[axis], size, _cubic, 2.0)
        fixed = np.trunc(weights * (1 << _PILLOW_BITS) + np.copysign(0.5, weights))
        summed = _gather(result, axis, first, torch.from_numpy(fixed.astype(np.int32)))
        result = ((summed + half) >> _PILLOW_BITS).clamp(0, 255)
    return result.to(torch.uint8)


def _like_tensorflow(pixels: Tensor, size: int) -> Tensor:
    """Lanczos with three lobes on floats, antialiased; rounded once, at the end."""
    result = pixels.float()
    for axis in (2, 3):
        first, weights = _taps(result.shape[axis], size, _lanczos3, 3.0)
        result = _gather(result, axis, first, torch.from_numpy(weights.astype(np.float32)))
    return result.round().clamp(0, 255).to(torch.uint8)


def _gather(pixels: Tensor, axis: int, first: np.ndarray, weights: Tensor) -> Tensor:
    """Along `axis`, output i is the sum over k of weights[i, k] * pixels[first[i] + k]."""
    start = torch.from_numpy(first).to(pixels.device)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    total: Tensor | None = None
    for k in range(weights.shape[1]):
        source = (start + k).clamp(max=pixels.shape[axis] - 1)  # weight 0 beyond the edge
        part = pixels.index_select(axis, source) * weights[:, k].to(pixels.device).view(shape)
        total = part if total is None else total + part
    assert total is not None
    return total


def _interpolate(image: Tensor, axis: int, size: int) -> Tensor:
    """Samples the middle part of one axis at `size` places, linearly."""
    length = image.shape[axis]
    side = np.float32(_CROP_SIDE)
    begin = (np.float32(1) - side) / np.float32(2)
    last, end = np.float32(length - 1), begin + side
    scale = (end - begin) * last / np.float32(size - 1)
    place = begin * last + np.arange(size, dtype=np.float32) * scale
    lower = np.floor(place)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    share = torch.from_numpy(place - lower).to(image.device).view(shape)
    index = torch.from_numpy(lower.astype(np.int64)).to(image.device)
    below = image.index_select(axis, index)
    above = image.index_select(axis, (index + 1).clamp(max=length - 1))
    return below + (above - below) * share


@lru_cache(maxsize=32)
def _taps(
    length: int, size: int, kernel: Callable[[np.ndarray], np.ndarray], reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """First input [S] int64 and weights [S, K] float64 of each output of an antialiased resize.

    The kernel is stretched by the scale where that shrinks the picture; weights sum to 1.
    """
    scale = length / size
    stretch = max(scale, 1.0)
    support = reach * stretch
    centre = (np.arange(size) + 0.5) * scale
    first = np.maximum(np.floor(centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum(np.floor(centre + support + 0.5).astype(np.int64), length)
    offsets = np.arange(int((last - first).max()))
    place = first[:, None] + offsets
    weights = kernel((place + 0.5 - centre[:, None]) / stretch)
    weights = np.where(place < last[:, None], weights, 0.0)
    return first, weights / weights.sum(axis=1, keepdims=True)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -1/2."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))


def _lanczos3(x: np.ndarray) -> np.ndarray:
    """sinc(x) sinc(x / 3) inside three lobes."""
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
