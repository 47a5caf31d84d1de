"""Bags of instances: slides whose label is known and whose tiles inherit it, mostly wrongly.

All bags of a set lie in one table of tiles, sorted by bag, with offsets: tiles of bag i are ``offsets[i]:offsets[i + 1]``. Labels are
binary: a bag is positive if any of its tiles is.
"""
