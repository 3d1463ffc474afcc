"""MnasNet's reinforcement learning: a recurrent policy emits one choice after another, PPO improves it.

MnasNet (arXiv 1807.11626, section 4.2) uses NASNet's controller (arXiv 1707.07012, appendix A) with proximal
policy optimisation (arXiv 1707.06347). Settings named "NASNet" are those two summaries of its appendix agree on;
MnasNet prints none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nas.controllers.features import Features
from nas.controllers.novelty import TRIES, Novelty
from results.trial import Trial
from search_spaces import Genotype, SearchSpace


class PPOSettings(NamedTuple):
    """The published settings, and ours where none is published.

    Attributes:
        hidden: LSTM units, one layer (NASNet).
        init: weights are drawn from Uniform(-init, init) (NASNet).
        learning_rate: of Adam (NASNet).
        entropy: weight of the entropy bonus (NASNet).
        baseline_decay: of the moving average of rewards (NASNet).
        batch: rewarded networks an update waits for (NASNet: about 20).
        clip: ε of the surrogate objective (arXiv 1707.06347, equation 7; the best of its Table 1).
        epochs: passes over a batch (arXiv 1707.06347, Table 3: 10).
    """

    hidden: int = 100
    init: float = 0.1
    learning_rate: float = 3.5e-4
    entropy: float = 1e-5
    baseline_decay: float = 0.95
    batch: int = 20
    clip: float = 0.2
    epochs: int = 10


class Policy(nn.Module):
    """One LSTM step a choice: the option chosen before goes in, logits of this choice's options come out.

    Args:
        options: how many options each choice has.
        settings: of the controller.
    """

    def __init__(self, options: list[int], settings: PPOSettings) -> None:
        super().__init__()
        self.options, self.hidden = options, settings.hidden
        self.embed = nn.ModuleList(nn.Embedding(n, settings.hidden) for n in [1, *options][: len(options)])
        self.cell = nn.LSTMCell(settings.hidden, settings.hidden)
        self.heads = nn.ModuleList(nn.Linear(settings.hidden, n) for n in options)

    def forward(self, genotypes: Tensor) -> tuple[Tensor, Tensor]:
        """Log probability and entropy of genotypes, (batch, choices) -> (batch,) each."""
        log_probability = torch.zeros(len(genotypes))
        entropy = torch.zeros(len(genotypes))
        state = (torch.zeros(len(genotypes), self.hidden), torch.zeros(len(genotypes), self.hidden))
        before = torch.zeros(len(genotypes), dtype=torch.long)
        for place, (embed, head) in enumerate(zip(self.embed, self.heads, strict=True)):
            state = self.cell(embed(before), state)
            logs = head(state[0]).log_softmax(1)
            before = genotypes[:, place]
            log_probability = log_probability + logs.gather(1, before[:, None])[:, 0]
            entropy = entropy - (logs.exp() * logs).sum(1)
        return log_probability, entropy

    @torch.no_grad()
    def sample(self, uniform: np.ndarray) -> tuple[Genotype, float]:
        """A genotype drawn with given uniform numbers, one a choice, and its log probability."""
        genotype: list[int] = []
        total = 0.0
        state = (torch.zeros(1, self.hidden), torch.zeros(1, self.hidden))
        before = torch.zeros(1, dtype=torch.long)
        for place, (embed, head) in enumerate(zip(self.embed, self.heads, strict=True)):
            state = self.cell(embed(before), state)
            logs = head(state[0]).log_softmax(1)[0]
            edges = np.cumsum(logs.double().exp().numpy())
            option = min(int(np.searchsorted(edges, uniform[place] * edges[-1], side="right")), len(edges) - 1)
            genotype.append(option)
            total += float(logs[option])
            before = torch.tensor([option])
        return tuple(genotype), total


class PPO:
    """Samples networks from a policy, and improves the policy whenever a batch of rewards is complete.

    Args:
        space: where to search.
        features: say what is feasible.
        seed: of the weights and of all draws.
        settings: published ones by default.
    """

    def __init__(
        self, space: SearchSpace, features: Features, seed: int, settings: PPOSettings = PPOSettings()
    ) -> None:
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        self._novelty = Novelty(space, features, self._rng)
        self._options = [len(choice.options) for choice in space.choices]
        self._policy = Policy(self._options, settings)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self._policy.parameters():
            nn.init.uniform_(parameter, -settings.init, settings.init, generator=generator)
        self._optimizer = torch.optim.Adam(self._policy.parameters(), lr=settings.learning_rate)
        self._baseline: float | None = None
        self._sampled: dict[Genotype, tuple[Genotype, float]] = {}  # canonical -> as sampled, log probability then
        self._batch: list[tuple[Genotype, float, float]] = []  # genotype, log probability then, reward

    def ask(self) -> Genotype | None:
        """A network the policy samples and has not proposed before; a random one where it only repeats itself."""
        if self._novelty.exhausted:
            return None
        before = self._rng.bit_generator.state
        for _ in range(TRIES):
            sampled, log_probability = self._policy.sample(self._rng.random(len(self._options)))
            canonical = self._novelty.canonical(sampled)
            if self._novelty.admit(canonical):
                self._sampled[canonical] = (sampled, log_probability)
                return canonical
        fresh = self._novelty.fresh()
        if fresh is None:
            self._rng.bit_generator.state = before
        return fresh

    def tell(self, trial: Trial) -> None:
        """Add a reward to the batch; a network without one teaches nothing."""
        canonical = self._novelty.canonical(trial.genotype)
        self._novelty.note(canonical)
        sampled = self._sampled.pop(canonical, None)
        if sampled is None or trial.state != "complete" or trial.reward is None:
            return
        self._batch.append((*sampled, trial.reward))
        if len(self._batch) == self._settings.batch:
            self._update()
            self._batch = []

    def _update(self) -> None:
        chosen = torch.tensor([genotype for genotype, _, _ in self._batch])
        before = torch.tensor([log_probability for _, log_probability, _ in self._batch])
        rewards = np.array([reward for _, _, reward in self._batch])
        decay = self._settings.baseline_decay
        mean = float(rewards.mean())
        self._baseline = mean if self._baseline is None else decay * self._baseline + (1 - decay) * mean
        gain = rewards - self._baseline
        # rewards of a space differ by a few per cent: in units of their spread, the step size suits any of them
        advantage = torch.tensor(gain / (rewards.std() + 1e-8), dtype=torch.float32)
        for _ in range(self._settings.epochs):
            log_probability, entropy = self._policy(chosen)
            ratio = (log_probability - before).exp()
            clipped = ratio.clamp(1 - self._settings.clip, 1 + self._settings.clip)
            surrogate = torch.minimum(ratio * advantage, clipped * advantage)  # arXiv 1707.06347, equation 7
            loss = -(surrogate + self._settings.entropy * entropy).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
