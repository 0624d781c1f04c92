"""A metric is the same however its parts are grouped."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from rlinf.metrics.types import (
    ExplainedVariance,
    Maximum,
    Mean,
    Metrics,
    Minimum,
    Total,
)


def explained_variance(targets: np.ndarray, predictions: np.ndarray) -> ExplainedVariance:
    errors = targets - predictions
    return ExplainedVariance(
        len(targets),
        targets.sum(),
        (targets**2).sum(),
        errors.sum(),
        (errors**2).sum(),
    )


def test_a_mean_weighs_every_entry_alike_and_not_every_part():
    # 1 of 1 and 0 of 3: 1/4, not the mean of 1 and 0
    parts = [Metrics({"m": Mean(1.0, 1.0)}), Metrics({"m": Mean(0.0, 3.0)})]
    assert Metrics.merge(parts).reduce() == {"m": 0.25}


def test_totals_add_up_and_extremes_stay():
    parts = [
        {"n": Total(2), "high": Maximum(1.0), "low": Minimum(1.0)},
        {"n": Total(3), "high": Maximum(-4.0), "low": Minimum(-4.0)},
    ]
    assert Metrics.merge(parts).reduce() == {"n": 5.0, "high": 1.0, "low": -4.0}


def test_explained_variance_comes_from_the_moments_of_all_parts():
    # Each part alone has constant targets, so that a mean over parts would not exist.
    # targets 1, 1, 3, 3, errors 0, 0, 1, -1: variance 1 and 0.5
    targets, predictions = np.array([1.0, 1, 3, 3]), np.array([1.0, 1, 2, 4])
    parts = [explained_variance(targets[:2], predictions[:2])]
    assert parts[0].value() is None
    parts.append(explained_variance(targets[2:], predictions[2:]))
    merged = Metrics.merge({"ev": part} for part in parts)
    assert merged.reduce() == {"ev": pytest.approx(0.5)}


def test_a_constant_error_explains_all_variance():
    # Only the spread of the error counts: a critic that is always off by one explains all.
    targets = np.array([1.0, 2.0, 4.0])
    assert explained_variance(targets, targets + 1.0).value() == pytest.approx(1.0)


def test_constant_targets_have_no_explained_variance_despite_rounding():
    targets = np.full(1000, 0.1)
    assert explained_variance(targets, np.zeros(1000)).value() is None


def test_what_was_never_counted_is_left_out():
    nothing = Metrics({"mean": Mean(0.0, 0.0), "ev": ExplainedVariance(0, 0, 0, 0, 0)})
    assert nothing.reduce() == {}


def test_merging_is_associative():
    rng = np.random.default_rng(0)
    parts = [
        Metrics(
            {
                "mean": Mean(*rng.integers(1, 9, 2)),
                "max": Maximum(int(rng.integers(9))),
                "ev": explained_variance(*rng.integers(0, 9, (2, 5)).astype(float)),
            }
        )
        for _ in range(6)
    ]
    left = Metrics.merge([Metrics.merge(parts[:4]), *parts[4:]])
    right = Metrics.merge([parts[0], Metrics.merge(parts[1:])])
    assert left.reduce() == right.reduce() == Metrics.merge(parts).reduce()


def test_a_metric_that_only_some_parts_have_is_kept():
    merged = Metrics.merge([{"a": Mean(1.0, 2.0)}, {"b": Total(1)}, {"a": Mean(1.0, 2.0)}])
    assert merged.reduce() == {"a": 0.5, "b": 1.0}


def test_one_name_for_two_kinds_is_an_error():
    with pytest.raises(TypeError, match="loss is both"):
        Metrics.merge([{"loss": Mean(1.0, 1.0)}, {"loss": Total(1.0)}])


def test_tensors_become_floats_for_the_way_between_processes():
    on_device = Metrics({"m": Mean(torch.tensor(3.0), torch.tensor(4))})
    on_host = on_device.on_host()
    assert on_host["m"] == Mean(3.0, 4.0)
    assert isinstance(on_host["m"].numbers()[0], float)
    assert pickle.loads(pickle.dumps(on_host)).reduce() == on_device.reduce() == {"m": 0.75}
