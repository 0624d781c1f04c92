"""ManiSkill 3: the simulator adapter and what goes with it."""
