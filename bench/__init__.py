"""Measurements side by side: the same work on ours, on kernel overlayfs and on other unions; docs/performance.md."""
