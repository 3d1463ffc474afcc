"""`nas report`: one self-contained HTML page of one or more runs."""

from results.report.page import write_report

__all__ = ["write_report"]
