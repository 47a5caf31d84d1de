"""What it costs to choose whom to ask about."""

from __future__ import annotations

import resource
import time

import pytest
import torch

from benchmark.training.acquisition import k_centre

pytestmark = pytest.mark.perf
N, WIDTH, PICKS, COVERED = 100_000, 512, 500, 2_000


def test_k_centre(capsys: pytest.CaptureFixture[str]) -> None:
    """Greedy k-centre against the products that it cannot do without: the covered points' distances, and one a pick."""
    torch.set_num_threads(2)
    features = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0))
    covered = features[:COVERED]

    started = time.perf_counter()
    for start in range(0, N, 8192):
        features[start : start + 8192] @ covered.T
    for step in range(PICKS):
        features @ features[step]
    bare = time.perf_counter() - started

    started = time.perf_counter()
    picks = k_centre(features, PICKS, covered)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with capsys.disabled():
        print(f"\nk-centre, {PICKS} picks of {N:,} × {WIDTH}, {COVERED} covered: {seconds:.1f} s; bare products {bare:.1f} s; ", end="")
        print(f"ratio {seconds / bare:.2f}; process at most {peak:.0f} MB")
    assert len(set(picks.tolist())) == PICKS
