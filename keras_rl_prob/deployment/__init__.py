"""Policies outside of training: step by step in Python, and as files without this library."""
