"""A simulator and a model outside of RLinf."""
