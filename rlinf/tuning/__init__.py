"""Choice that make a training faster without changing what it learns from: `rlinf tune`."""
