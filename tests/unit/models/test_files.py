"""Files of weights: who may read them, and what is no file of weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rlinf.errors import UserError
from rlinf.models.files import read_tensors, read_torch_tensors, write_tensors

TENSORS = {"weight": torch.arange(6.0).view(2, 3)}


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_an_export_has_the_permissions_that_the_umask_allows(tmp_path: Path, umask: int):
    path = tmp_path / "out/policy.safetensors"
    write_tensors(TENSORS, path)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    write_tensors(TENSORS, path)  # again, over what is there
    assert torch.equal(read_tensors(path)["weight"], TENSORS["weight"])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 2020"])
def test_both_forms_of_torch_files_are_read(tmp_path: Path, new: bool):
    torch.save(TENSORS, tmp_path / "a.bin", _use_new_zipfile_serialization=new)
    assert torch.equal(read_torch_tensors(tmp_path / "a.bin")["weight"], TENSORS["weight"])


@pytest.mark.parametrize("content", [[1, 2], {"weight": 3}, {4: torch.zeros(1)}], ids=str)
def test_a_file_without_tensors_by_name_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(UserError, match="holds no tensors by name"):
        read_torch_tensors(tmp_path / "a.bin")


def test_a_truncated_or_missing_file_is_refused(tmp_path: Path):
    torch.save(TENSORS, tmp_path / "whole.bin")
    (tmp_path / "a.bin").write_bytes((tmp_path / "whole.bin").read_bytes()[:-100])
    for name in ("a.bin", "missing.bin"):
        with pytest.raises(UserError, match=name):
            read_torch_tensors(tmp_path / name)
