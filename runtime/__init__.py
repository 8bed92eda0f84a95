"""Containers: a command in namespaces of its own, on a union as its root."""
