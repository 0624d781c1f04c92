"""Published and own results, with what it takes to measure them again: `rlinf reproduce`."""
