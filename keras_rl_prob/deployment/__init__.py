"""Policies outside training: step by step in Python, and exported files that run without this library."""
