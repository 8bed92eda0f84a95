"""The verbs of the `pyunion` command on containers, images and networks: functions of (options, places) with tables."""
