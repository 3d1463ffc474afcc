"""Figures for print, from what `results.analysis` and `results.pareto` say; needs matplotlib."""

try:
    import matplotlib  # noqa: F401 - to say what to do where it is missing
except ImportError as error:
    raise ImportError(
        "figures need matplotlib, which cannot be imported here: pip install 'training-aware-nas[plot]'"
    ) from error

from results.plots.architecture import architecture_figure
from results.plots.convergence import convergence_figure
from results.plots.curves import plot_curves
from results.plots.distribution import distribution_figure
from results.plots.drift import drift_figure
from results.plots.importance import importance_figure
from results.plots.panels import panels_figure
from results.plots.pareto import pareto_figure
from results.plots.style import FORMATS, WIDTHS, Width, checked_format, write_figure

__all__ = [
    "FORMATS",
    "WIDTHS",
    "Width",
    "architecture_figure",
    "checked_format",
    "convergence_figure",
    "distribution_figure",
    "drift_figure",
    "importance_figure",
    "panels_figure",
    "pareto_figure",
    "plot_curves",
    "write_figure",
]
