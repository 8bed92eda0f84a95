"""The front doors: kernel requests come in here and go down to the verbs of the core."""
