"""Ray counts the GPUs that a run computes on; here it is given three that do not exist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from rlinf.cluster import claims
from rlinf.cluster.claims import Claims
from rlinf.errors import UserError

PRESENT = 3


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """Ray's id of a node with three GPUs, of which the process that starts it shows others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "7,4,5")
        ray.init(
            "local", num_cpus=0, num_gpus=PRESENT, include_dashboard=False, log_to_driver=False
        )
        try:
            yield ray.get_runtime_context().get_node_id()
        finally:
            ray.shutdown()


def given_to_another() -> tuple[list[int], object]:
    """The GPU that the next job of the cluster gets, and what holds it."""
    other = claims._Holder.options(
        num_gpus=1, runtime_env={"env_vars": {claims._STAYS: "1"}}
    ).remote()
    return ray.get(other.indices.remote()), other


def test_other_jobs_get_the_gpus_that_the_run_does_not_use(
    node: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(claims, "CLAIM_S", 3600)  # they are free, however slow the machine is
    found = Claims()
    found.take(0, node, {1}, PRESENT)
    (first, one), (second, two) = given_to_another(), given_to_another()
    assert sorted(first + second) == [0, 2]

    with monkeypatch.context() as impatient:
        impatient.setattr(claims, "CLAIM_S", 0.1)
        with pytest.raises(UserError, match=r"node 0: Ray did not give GPU 0, 1, 2 within 0\.1 s"):
            found.take(0, node, range(PRESENT), PRESENT)
    for other in (one, two):
        ray.kill(other)
    found.take(0, node, range(PRESENT), PRESENT)  # all at once, when they are free
    assert [len(holders) for holders in found._holders.values()] == [1]
    found.take(0, node, (), PRESENT)
    assert given_to_another()[0]
