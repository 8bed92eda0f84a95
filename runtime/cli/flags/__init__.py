"""Options of `run` and its like, by subject: each module has a table, and read(), which makes a part of a Config."""
