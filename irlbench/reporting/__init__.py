"""Reports: from the records of output directories to a leaderboard and a page."""

from irlbench.reporting.build import ReportSummary, report

__all__ = ["ReportSummary", "report"]
