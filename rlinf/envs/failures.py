"""How an adapter says which of its envs failed."""

from __future__ import annotations


class RowFailed(RuntimeError):
    """The simulator of one env raised; the cause is chained (`raise RowFailed(row) from error`)."""

    def __init__(self, row: int) -> None:
        self.row = row  # index of the env within its simulator
        super().__init__(row)
