"""RLinf: reinforcement learning for vision-language-action policies in robot simulators."""

__version__ = "0.1.0"
