"""Image preparation against Pillow, torchvision and TensorFlow as the originals used them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlinf.models.prismatic import images
from tests.golden import GoldenSet, sets_with

SIZE = 224


@pytest.fixture(params=sets_with("image_ops/versions.json"))
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return GoldenSet(request.param.path.parent)


def pictures(golden: GoldenSet):
    """(picture, name of what TensorFlow made of it)."""
    for path in sorted((golden.path / "images").glob("*.png")):
        if (golden.path / f"image_ops/{path.stem}.jpeg_roundtrip.png").is_file():
            yield golden.picture(f"images/{path.name}"), f"image_ops/{path.stem}"


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture)[None].permute(0, 3, 1, 2)


def difference(ours: torch.Tensor, theirs: np.ndarray) -> np.ndarray:
    return np.abs(ours[0].permute(1, 2, 0).numpy().astype(int) - theirs)


def test_the_centre_crop_is_tensorflows_in_every_pixel(golden: GoldenSet):
    for picture, name in pictures(golden):
        cropped = images.crop_center(as_tensor(picture), SIZE)
        assert difference(cropped, golden.picture(f"{name}.center_crop_0.9.png")).max() == 0


def test_the_jpeg_round_trip_is_tensorflows_in_every_pixel(golden: GoldenSet):
    for picture, name in pictures(golden):
        theirs = golden.picture(f"{name}.jpeg_roundtrip.png")
        assert np.array_equal(images.jpeg_round_trip(picture[None])[0], theirs)


def test_the_lanczos_resize_is_tensorflows_to_the_last_level(golden: GoldenSet):
    for picture, name in pictures(golden):
        compressed = torch.from_numpy(images.jpeg_round_trip(picture[None])).permute(0, 3, 1, 2)
        resized = images.resize(compressed, SIZE, "jpeg")
        found = difference(resized, golden.picture(f"{name}.policy_resize_224.png"))
        assert found.max() <= 1 and (found > 0).mean() < 5e-4


def test_the_tensor_resize_is_torchvisions_to_the_last_level(golden: GoldenSet):
    if not (golden.path / "batch.npz").is_file():
        pytest.skip("the set has no tensor resize")
    stored = golden.arrays("batch.npz")
    for sample, name in enumerate(golden.meta["images"]):
        key = f"rlinf_tensor_resize/images_224_uint8_{sample}"
        if key in stored:
            resized = images.resize(as_tensor(golden.picture(name)), SIZE, "tensor")
            found = difference(resized, stored[key][0])
            assert found.max() <= 1 and (found > 0).mean() < 5e-3


def test_pillows_resize_is_met_in_every_pixel_at_any_size():
    from PIL import Image

    rng = np.random.default_rng(0)
    for height, width in ((480, 640), (256, 256), (100, 333), (224, 500), (64, 64), (400, 250)):
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        given = Image.fromarray(picture)
        if height > width:  # this Pillow would begin with the height
            given = given.resize((SIZE, height), Image.Resampling.BICUBIC)
        theirs = np.array(given.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        assert difference(images.resize(as_tensor(picture), SIZE, "pillow"), theirs).max() == 0
        assert np.array_equal(images.pillow_resize(picture[None], SIZE)[0], theirs)
