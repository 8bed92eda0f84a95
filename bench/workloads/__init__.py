"""The workloads, in the order of the table."""

import importlib

for _name in ("metadata", "layers", "programs", "data", "driver"):
    importlib.import_module(f"bench.workloads.{_name}")     # its workloads add themselves
