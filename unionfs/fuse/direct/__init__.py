"""Front door B: our own carrier of kernel requests on /dev/fuse, with the standard library alone.

`protocol` is the kernel's header as data; `session` what is agreed at the start; `replies` how answers are laid out;
`names`, `attributes`, `files` and `control` carry the requests to the verbs of the core; `passthrough` hands files to
the kernel; `workers` runs what is slow; `server` is the loop that holds them together.
"""
