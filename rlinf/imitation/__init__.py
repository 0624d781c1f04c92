"""Demonstrations of scripted experts, and imitation of them: the warm-up before RL."""
