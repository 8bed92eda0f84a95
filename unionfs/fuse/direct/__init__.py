"""The front door that serves: our own carrier of kernel requests on /dev/fuse, with the standard library alone.

`protocol` is the kernel's header as data; `session` what is agreed at the start; `server` the loop, which reads from
`device` a `request` at a time. `dispatch` has the handler for it, of `names`, `attributes`, `directories` or `files`:
they call the verbs of the core, and lay out what these give by `replies`. `tasks` carries on what has slow steps, which
run in threads of `workers`; `data` reads and writes, `bulk` much at once. What handlers share is in `mount`: `nodeids`
are what the kernel calls nodes by, `passthrough` hands files to the kernel, `preload` gives it small ones whole.
`statistics` counts requests. `offer` asks the kernel what a mount would get, for `pyunion doctor`.
"""
