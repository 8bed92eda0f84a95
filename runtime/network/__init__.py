"""Networks of containers: records and leases on disk, links and addresses in the kernel, rules, ports and names.

It knows containers by their ids and namespaces alone, and nothing of images.
"""
