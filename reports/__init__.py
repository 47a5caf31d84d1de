"""Comparison tables: results of runs in, tables that say which method is best and how sure that is out."""
