"""How an adapter says which of its envs failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RowFailed(RuntimeError):
    """The simulator of one env raised; the cause is chained."""

    def __init__(self, row: int) -> None:
        self.row = row  # index of the env within its simulator
        super().__init__(row)


@contextmanager
def blame(row: int) -> Iterator[None]:
    """Turns whatever the simulator of env `row` raises inside into a `RowFailed`."""
    try:
        yield
    except Exception as error:
        raise RowFailed(row) from error
