"""What happens when the package is imported, before Keras."""
