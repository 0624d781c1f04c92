"""The tiny folder, one for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_gr00t import write_folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("gr00t") / "model")
