"""Images: their formats, the store that keeps them, and the ways into it and out of it.

Nothing here knows of containers or of FUSE.
"""
