"""The verbs of the `pyunion` command that concern containers: a module each, with a function main(arguments, places)."""
