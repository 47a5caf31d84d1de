"""A benchmark of methods that learn from noisy labels: one registry, one training engine, one protocol."""

__version__ = "0.1.0"
