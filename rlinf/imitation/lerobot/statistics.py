"""Statistics of a feature, per episode and of a whole data set, as LeRobot keeps them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Statistics = dict[str, np.ndarray]

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_PICTURE_STRIDE = 4  # every 4th row and column of a picture: neighbours say the same


def of_rows(rows: np.ndarray) -> Statistics:
    """Of [L, n] numbers, or of [L] as [L, 1]: [n] float64 each; `count` is [1]."""
    rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
    found = {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([len(rows)]),
    }
    quantiles = np.quantile(rows, list(QUANTILES.values()), axis=0)
    return found | dict(zip(QUANTILES, quantiles, strict=True))


def of_pictures(pictures: np.ndarray) -> Statistics:
    """Of [L, H, W, 3] uint8, per channel in 0..1: [3, 1, 1] each; `count` is the number L."""
    pixels = pictures[:, ::_PICTURE_STRIDE, ::_PICTURE_STRIDE].reshape(-1, 3) / 255.0
    found = {name: value.reshape(-1, 1, 1) for name, value in of_rows(pixels).items()}
    return found | {"count": np.array([len(pictures)])}


def pooled(parts: Sequence[Statistics]) -> Statistics:
    """Of the union of the parts. Quantiles are means of the parts', weighted by count."""
    count = np.array([part["count"][0] for part in parts], np.float64)
    weights = (count / count.sum()).reshape(-1, *[1] * parts[0]["mean"].ndim)

    def weighted(values: Sequence[np.ndarray]) -> np.ndarray:
        mean: np.ndarray = (np.stack(values) * weights).sum(axis=0)
        return mean

    mean = weighted([part["mean"] for part in parts])
    square = weighted([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    found = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(square),
        "count": np.array([int(count.sum())]),
    }
    return found | {name: weighted([part[name] for part in parts]) for name in QUANTILES}
