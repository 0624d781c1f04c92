"""Modules for templates to import, and what their sub-processes host."""
