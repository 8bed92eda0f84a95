"""The verbs of the `pyunion` command that concern containers: functions of (arguments, places)."""
