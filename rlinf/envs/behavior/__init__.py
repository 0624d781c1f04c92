"""BEHAVIOR-1K: the R1 Pro in household activities of OmniGibson, in a Python of its own."""
