"""A policy behind a network port, for robots and benchmarks that ask it for actions."""
