"""The mirror in MLflow, and the only place that knows it. Files are the truth; everything here can be rebuilt from them.

An experiment is one data set under one training protocol. A parent run stands for one command, each of its children for
one run folder, found again by the tag ``run_key``. Importing this package does not import MLflow.
"""

from __future__ import annotations

from benchmark.tracking.mirrored import read_results
from benchmark.tracking.synchronise import SyncReport, sync
from benchmark.tracking.tracker import MlflowTracker, NullTracker, Tracker, make_tracker

__all__ = ["MlflowTracker", "NullTracker", "SyncReport", "Tracker", "make_tracker", "read_results", "sync"]
