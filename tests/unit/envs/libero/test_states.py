"""Recorded start states are read as numbers, whatever else a file holds."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from rlinf.envs.libero.states import read_states
from rlinf.errors import UserError

STATES = np.arange(6.0).reshape(2, 3)


def test_an_array_that_torch_saved_is_read_without_torch(tmp_path: Path):
    file = tmp_path / "a.pruned_init"
    for array in (STATES, STATES[0], np.asfortranarray(STATES)):
        torch.save(array, file)
        assert (read_states(file) == array).all() and read_states(file).shape == array.shape


def test_a_file_with_anything_else_is_refused_and_named(tmp_path: Path):
    file = tmp_path / "a.pruned_init"
    whole = tmp_path / "whole.pruned_init"
    torch.save(STATES, whole)
    for content in (
        b"",
        b"no zip",
        pickle.dumps(STATES),
        whole.read_bytes()[:200],
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match="holds more than numbers"):
            read_states(file)
    for held in (torch.zeros(2, 3), STATES.astype(np.float32), [1.0, 2.0], print):
        torch.save(held, file)
        with pytest.raises(UserError, match="holds more than numbers"):
            read_states(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("other/name", b"")
    with pytest.raises(UserError, match="holds more than numbers"):
        read_states(file)
    with pytest.raises(UserError, match="none"):
        read_states(tmp_path / "none.pruned_init")
