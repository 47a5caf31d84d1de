"""What the folder of a leaderboard may hold: whatever else lies in it is somebody's, and is neither replaced nor removed."""

from __future__ import annotations

import re

__all__ = ["FIGURES", "OURS", "STAGING", "new_staging"]

STAGING = re.compile(r"\.leaderboard-[0-9a-f]{8}\.tmp")
"""A report is made in such a folder and then put in place; one that is left over belongs to a process that was killed."""

OURS = re.compile(rf"(leaderboard|compare)\.(html|md|csv|json|tex)|figures|{STAGING.pattern}")
FIGURES = re.compile(r"[a-z0-9_]+-(cd|ranks|noise|cost|rules)(-\d+)?(_\d+)?\.(svg|png)")
"""Task, kind and, of several, a number."""


def new_staging() -> str:
    """A name that no other process takes."""
    import secrets

    return f".leaderboard-{secrets.token_hex(4)}.tmp"
