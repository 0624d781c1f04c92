"""Simulators under a Python of their own, where `requirements/install.sh --env NAME` made it."""

from __future__ import annotations

import pytest

from rlinf.config.pythons import chosen, hosting
from rlinf.registry import Hosting, simulator


def hosted(name: str) -> Hosting:
    """How a simulator is started; the test is skipped where its Python is not installed."""
    spec = simulator(name)
    assert spec.python is not None
    python, _ = chosen(spec.python, None)
    if not python.exists():
        pytest.skip(f"needs {python}: bash requirements/install.sh --env {name}")
    return hosting(spec, None)
