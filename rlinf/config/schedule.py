"""The learning rate that a configuration asks for, step by step."""

from __future__ import annotations

from rlinf.algorithms.schedule import learning_rate_factor, warmup_updates
from rlinf.config.imitation import ImitationConfig
from rlinf.config.schema import OptimConfig


def rate_factor(optim: OptimConfig, total: int, update: int) -> float:
    """Factor on the learning rates in optimizer step `update`, counted from 0, of `total`."""
    warmup = warmup_updates(optim.lr_warmup_steps, optim.lr_warmup_steps_ratio, total)
    return learning_rate_factor(update, warmup, total, optim.warmup_style, optim.min_lr_ratio)


def optim_of(settings: ImitationConfig) -> OptimConfig:
    """The optimizer of imitation; the critic learns at the rate of the policy."""
    return OptimConfig(
        lr=settings.lr,
        value_lr=settings.lr,
        weight_decay=settings.weight_decay,
        clip_grad=settings.clip_grad,
        lr_warmup_steps=settings.lr_warmup_steps,
        warmup_style=settings.lr_schedule,
        total_training_steps=settings.schedule_steps,
    )
