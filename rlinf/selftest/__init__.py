"""`rlinf selftest`: what this machine computes, how fast, and whether it is right."""
