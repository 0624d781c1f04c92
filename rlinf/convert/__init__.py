"""Configurations of the published RLinf (v0.1 to v0.3) become configurations of this package."""
