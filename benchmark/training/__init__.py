"""The training engine that all methods share: import what you need from its modules, nothing is loaded here."""
