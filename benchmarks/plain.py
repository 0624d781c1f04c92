"""PPO as a plain single-process loop: what the light-policy case would cost without a framework.

Same simulator, networks, losses and optimizer as the configuration asks of the framework; no
chunks, no levels, no masks, no metrics. T steps, B envs, N = T * B samples.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.config.schema import Config
from rlinf.data.types import Start
from rlinf.envs.toy.reach import ToyReach
from rlinf.models.mlp.config import MlpConfig
from rlinf.workers.process import prepare_torch


class PlainPpo:
    """Collects T steps of B envs, computes GAE, and trains on the samples."""

    def __init__(self, config: Config) -> None:
        model, self.env, self.algorithm = config.actor.model, config.env.train, config.algorithm
        assert isinstance(model, MlpConfig)
        torch.manual_seed(config.actor.seed)
        self.steps, self.batch = self.env.max_steps_per_rollout_epoch, self.env.total_num_envs
        self.minibatch = config.actor.global_batch_size
        self.optim = config.actor.optim
        self.mean = _perceptron(model, model.action_dim, 0.01)
        self.critic = _perceptron(model, 1, 1.0)
        self.log_std = nn.Parameter(torch.full((model.action_dim,), model.log_std_init))
        policy = [*self.mean.parameters(), self.log_std]
        self.parameters = [*policy, *self.critic.parameters()]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": policy, "lr": self.optim.lr},
                {"params": self.critic.parameters(), "lr": self.optim.value_lr},
            ],
            betas=(self.optim.adam_beta1, self.optim.adam_beta2),
            eps=self.optim.adam_eps,
            weight_decay=self.optim.weight_decay,
        )
        self.random = np.random.default_rng(config.actor.seed)
        self.simulator = ToyReach(self.batch, model.obs_dim, model.action_dim)
        self.elapsed = np.zeros(self.batch, np.int64)
        self._reset(np.arange(self.batch))

    def iterate(self) -> float:
        """One iteration; returns the mean reward of a step."""
        states, actions, logprobs, values, rewards, ended, after = self._collect()
        advantages = self._gae(rewards, values.numpy(), ended, after)
        returns = torch.from_numpy(advantages).flatten() + values.flatten()
        normal = (advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-5)
        samples = (
            states.flatten(0, 1),
            actions.flatten(0, 1),
            logprobs.flatten(),
            torch.from_numpy(normal).flatten(),
            returns,
            values.flatten(),
        )
        for _ in range(self.algorithm.update_epoch):
            for rows in torch.randperm(len(returns)).split(self.minibatch):
                self._update(*(column[rows] for column in samples))
        return float(rewards.mean())

    @torch.inference_mode()
    def _collect(self) -> tuple[Tensor, Tensor, Tensor, Tensor, np.ndarray, np.ndarray, np.ndarray]:
        """T steps.

        Returns:
            States [T, B, S], actions [T, B, A], log-probs and values [T, B]; rewards and ended
            [T, B]; and the value of what follows each step, 0 where the task ended: [T, B].
        """
        everyone = np.ones(self.batch, bool)
        envs = np.arange(self.batch)
        columns: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        rewards, ended = (
            np.zeros((self.steps, self.batch)),
            np.zeros((self.steps, self.batch), bool),
        )
        final = np.zeros((self.steps, self.batch), np.float32)
        std = self.log_std.exp()
        for t in range(self.steps):
            state = self._state(envs)
            noise = torch.randn(self.batch, len(std))
            action = self.mean(state) + std * noise
            columns.append((state, action, self._logprob(noise), self.critic(state)[:, 0]))
            result = self.simulator.step(action.numpy(), everyone)
            self.elapsed += 1
            truncated = ~result.terminated & (self.elapsed >= self.env.max_episode_steps)
            rewards[t], ended[t] = result.rewards, result.terminated | truncated
            if truncated.any():
                rows = np.flatnonzero(truncated)
                final[t, rows] = self.critic(self._state(rows))[:, 0].numpy()
            self._reset(np.flatnonzero(ended[t]))
        states, actions, logprobs, values = (torch.stack(c) for c in zip(*columns, strict=True))
        last = self.critic(self._state(envs))[:, 0]
        following = torch.cat([values[1:], last[None]]).numpy()
        after = np.where(ended, final, following)
        return states, actions, logprobs, values, rewards, ended, after

    def _gae(
        self, rewards: np.ndarray, values: np.ndarray, ended: np.ndarray, after: np.ndarray
    ) -> np.ndarray:
        """Advantages [T, B] float32 (Schulman et al. 2016, eq. 16)."""
        gamma, decay = self.algorithm.gamma, self.algorithm.gamma * self.algorithm.gae_lambda
        delta = rewards + gamma * after - values
        advantage = np.zeros(self.batch)
        advantages = np.zeros(rewards.shape, np.float32)
        for t in reversed(range(self.steps)):
            advantage = delta[t] + decay * np.where(ended[t], 0.0, advantage)
            advantages[t] = advantage
        return advantages

    def _update(
        self,
        states: Tensor,
        actions: Tensor,
        old_logprobs: Tensor,
        advantages: Tensor,
        returns: Tensor,
        old_values: Tensor,
    ) -> None:
        """One optimizer step: clipped surrogate, clipped Huber value loss, entropy."""
        settings = self.algorithm
        noise = (actions - self.mean(states)) / self.log_std.exp()
        ratio = (self._logprob(noise) - old_logprobs).exp()
        near = ratio.clamp(1 - settings.clip_ratio_low, 1 + settings.clip_ratio_high)
        policy = torch.maximum(-advantages * ratio, -advantages * near).mean()
        values = self.critic(states)[:, 0]
        clip, delta = settings.value_clip, settings.huber_delta
        close = old_values + (values - old_values).clamp(-clip, clip)
        value = torch.maximum(
            nn.functional.huber_loss(values, returns, reduction="none", delta=delta),
            nn.functional.huber_loss(close, returns, reduction="none", delta=delta),
        ).mean()
        entropy = (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()
        self.optimizer.zero_grad(set_to_none=True)
        (policy + value - settings.entropy_bonus * entropy).backward()
        nn.utils.clip_grad_norm_(self.parameters, self.optim.clip_grad)
        self.optimizer.step()

    def _logprob(self, noise: Tensor) -> Tensor:
        """Of actions that lie `noise` ([..., A]) standard deviations from the mean: [...]."""
        normal = -0.5 * noise.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        return normal.sum(-1)

    def _state(self, envs: np.ndarray) -> Tensor:
        return torch.from_numpy(self.simulator.observe(envs).state)

    def _reset(self, envs: np.ndarray) -> None:
        if len(envs):
            seeds = self.random.integers(2**31, size=len(envs)).tolist()
            self.simulator.reset(envs, [Start(0, -1, seed) for seed in seeds])
            self.elapsed[envs] = 0


def _perceptron(model: MlpConfig, outputs: int, gain: float) -> nn.Sequential:
    """The framework's tanh network: orthogonal initial weights, `gain` scales the last layer."""
    widths = [model.obs_dim, *[model.hidden_dim] * model.num_layers, outputs]
    modules: list[nn.Module] = []
    for i, (inputs, width) in enumerate(itertools.pairwise(widths)):
        last = i == model.num_layers
        layer = nn.Linear(inputs, width)
        nn.init.orthogonal_(layer.weight, gain if last else math.sqrt(2))
        nn.init.zeros_(layer.bias)
        modules += [layer] if last else [layer, nn.Tanh()]
    return nn.Sequential(*modules)


class PlainProcess:
    """The plain loop in a process of its own, whose CPU seconds can be told apart."""

    def __init__(self, config: Config, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, config, threads), daemon=True)
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.rewards: list[float] = []  # mean of each iteration so far

    def iterate(self, count: int) -> None:
        """Runs so many iterations."""
        self._pipe.send(count)
        self.rewards += self._pipe.recv()

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, config: Config, threads: int) -> None:
    prepare_torch(threads)
    loop = PlainPpo(config)
    try:
        while True:
            count = pipe.recv()
            pipe.send([loop.iterate() for _ in range(count)])
    except EOFError:
        return  # the other end was closed
