"""What a table of trials says: pandas frames in, pandas frames and plain numbers out, without torch and Ray."""

from results.analysis.ablation import best_by
from results.analysis.chance import AgainstChance, against_chance
from results.analysis.comparability import Doubt, differing, doubts, random_run, reward_noise
from results.analysis.comparison import Comparison, compare
from results.analysis.convergence import Draws, convergence, draws_of, expected_best, range_of_best
from results.analysis.cost import cost, spared
from results.analysis.distribution import distribution
from results.analysis.drift import drift, drift_verdict
from results.analysis.enrichment import enrichment
from results.analysis.failures import failures
from results.analysis.findings import findings, findings_by_stage, findings_of
from results.analysis.importance import Importance, importance
from results.analysis.leaders import Best, best_network, confirmed
from results.analysis.one_trial import trial_facts
from results.analysis.saving import Saving, saving

__all__ = [
    "AgainstChance",
    "Best",
    "Comparison",
    "Doubt",
    "Draws",
    "Importance",
    "Saving",
    "against_chance",
    "best_by",
    "best_network",
    "compare",
    "confirmed",
    "convergence",
    "cost",
    "differing",
    "distribution",
    "doubts",
    "draws_of",
    "drift",
    "drift_verdict",
    "enrichment",
    "expected_best",
    "failures",
    "findings",
    "findings_by_stage",
    "findings_of",
    "importance",
    "random_run",
    "range_of_best",
    "reward_noise",
    "saving",
    "spared",
    "trial_facts",
]
