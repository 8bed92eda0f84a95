"""Layers as archives: reading them, making directories of them, and making them of directories."""
