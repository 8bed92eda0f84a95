"""Union semantics: synchronous, free of FUSE, trio, locks and threads. State changes only between two yields."""
