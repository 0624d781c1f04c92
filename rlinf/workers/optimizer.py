"""AdamW with a learning rate of its own for the value head, schedules and a critic warm-up."""

from __future__ import annotations

import torch
from torch import Tensor

from rlinf.config.schedule import rate_factor
from rlinf.config.schema import OptimConfig
from rlinf.workers.policy_parallel import ParallelPolicy


class Optimizer:
    """Moves the weights that require a gradient; `policy.version` counts its steps."""

    def __init__(self, parallel: ParallelPolicy, config: OptimConfig, updates: int) -> None:
        """
        Args:
            parallel: the policy, ready to be trained.
            updates: steps of the whole run, for the schedule.
        """
        policy = parallel.policy
        self.parallel, self.policy, self.config = parallel, policy, config
        self.total = config.total_training_steps if config.total_training_steps > 0 else updates
        value = {id(p) for p in policy.value_parameters()}
        trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
        self.names = {id(p): name for name, p in trained.items()}
        self.value = [p for p in trained.values() if id(p) in value]
        self.actor = [p for p in trained.values() if id(p) not in value]
        self.adam = torch.optim.AdamW(
            [
                {"params": self.actor, "lr": config.lr},
                {"params": self.value, "lr": config.value_lr},
            ],
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_eps,
            weight_decay=config.weight_decay,
            # PyTorch's default on a GPU needs memory for one more number per weight.
            fused=all(p.device.type != "cpu" for p in trained.values()) or None,
        )
        # All moments from the start: a checkpoint then always has the same entries, and memory
        # that does not suffice shows before the first rollout.
        for parameter in trained.values():
            self.adam.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    @property
    def warming_up(self) -> bool:
        """Whether the next step trains the value head alone."""
        return self.policy.version < self.config.critic_warmup_steps

    def rates(self) -> tuple[float, float]:
        """Learning rates of policy and value head in the next step."""
        factor = rate_factor(self.config, self.total, self.policy.version)
        return self.config.lr * factor, self.config.value_lr * factor

    def gradients(self) -> list[Tensor]:
        """The gradients, zero where a parameter was not reached.

        While the critic warms up the policy's are dropped, so that AdamW neither moves nor decays
        these parameters and the critic's moments live on afterwards.
        """
        if self.warming_up:
            for parameter in self.actor:
                parameter.grad = None
        gradients = []
        for parameter in self.value if self.warming_up else [*self.actor, *self.value]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        return gradients

    def clear(self) -> None:
        """Forgets the gradients."""
        self.adam.zero_grad(set_to_none=True)

    def clip(self) -> float:
        """Scales the gradients to `clip_grad`; returns their norm before."""
        return self.parallel.clip([*self.actor, *self.value], self.config.clip_grad)

    def step(self) -> None:
        """Moves the weights."""
        self.parallel.settle()
        for group, rate in zip(self.adam.param_groups, self.rates(), strict=True):
            group["lr"] = rate
        self.adam.step()
        self.policy.version += 1

    def state(self) -> dict[str, dict[str, Tensor]]:
        """The moments of each parameter by its name; the optimizer's own tensors, not copies."""
        return {self.names[id(p)]: state for p, state in self.adam.state.items()}

    def follow(self) -> None:
        """Moves its state to where the weights have moved; the gradients are forgotten."""
        self.clear()
        for parameter, state in self.adam.state.items():
            for name, value in state.items():
                state[name] = value.to(parameter.device)
