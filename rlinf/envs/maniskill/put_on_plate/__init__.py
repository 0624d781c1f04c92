"""PutOnPlateInScene25: put one of 25 objects on a plate, and its out-of-distribution variants.

The task family of Liu et al., "What Can RL Bring to VLA Generalization?" (arXiv 2505.19789). An
episode is named by one integer; `cases.py` says what it decodes to. Units are m, rad and kg;
quaternions are w, x, y, z; poses are in the world frame.
"""
