"""The verbs of the file system: functions whose first argument is the union, named as the system calls are.

These modules don't import one another; what two of them need is one floor down, in `tree`, `objects`, `holding` and
`copyup`.
"""
