"""Files that simulators need and that no package brings: where they lie and where to get them."""
