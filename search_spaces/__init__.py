"""What a network is, what it costs, and the spaces of networks to search; numpy only."""

from search_spaces.architecture import Architecture, Stage, read_architecture
from search_spaces.complexity import Cost, PartCost, cost, part_costs
from search_spaces.efficientnet import SPACES, ImageSizes, training_aware_space
from search_spaces.published import ACTIVATIONS, IMAGE_SIZES, PUBLISHED
from search_spaces.space import Choice, Genotype, SearchSpace, vary

__all__ = [
    "ACTIVATIONS",
    "IMAGE_SIZES",
    "PUBLISHED",
    "SPACES",
    "Architecture",
    "Choice",
    "Cost",
    "Genotype",
    "ImageSizes",
    "PartCost",
    "SearchSpace",
    "Stage",
    "cost",
    "part_costs",
    "read_architecture",
    "training_aware_space",
    "vary",
]
