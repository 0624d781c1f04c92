"""What `benchmarks/envs.py` runs under the own Python of IsaacLab and of mjlab."""
