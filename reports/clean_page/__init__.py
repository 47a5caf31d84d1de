"""``report.html``: which labels of a person's images are likely wrong, as one page that needs nothing else."""

from reports.clean_page.whole import page

__all__ = ["page"]
