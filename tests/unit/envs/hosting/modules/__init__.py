"""Modules for fork servers to import, and what their sub-processes host."""
