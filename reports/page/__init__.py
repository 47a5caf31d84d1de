"""``leaderboard.html``: the leaderboard as one page that needs nothing else; its tables are HTML, its script sorts, filters and draws."""

from reports.page.whole import Figure, page

__all__ = ["Figure", "page"]
