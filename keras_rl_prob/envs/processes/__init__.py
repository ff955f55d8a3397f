"""Environments in separate processes, and the errors of those that fail."""
