"""A benchmark of methods that learn from noisy labels: one registry, one training engine, one protocol.

For notebooks: ``from benchmark import clean_labels, report, run``; they are loaded when they are asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.notebook import clean_labels as clean_labels
    from benchmark.notebook import report as report
    from benchmark.notebook import run as run

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("clean_labels", "report", "run"):
        from benchmark import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module 'benchmark' has no attribute '{name}'")
