"""Environments in processes of their own, and what is told of those that fail."""
