"""The options of `run` and its like, by subject, as data.

Apart from the modules that read them, each of which is imported only when one of its options is given: they are on
the way to a container's first instruction.
"""

from runtime.cli.options import Option

PLATFORM = Option("platform", "of an image for several", "", "OS/ARCH[/VARIANT]")
MOUNTS = (
    Option("mount", "type=bind|volume|tmpfs|image,source=…,target=…[,readonly]…", "", "SPEC"),
    Option("read-only", "keep the root filesystem from being changed"),
    Option("shm-size", "size of /dev/shm (default: 64m)", "", "SIZE"),
    Option("tmpfs", "mount an empty filesystem in memory", "", "DIR[:OPTIONS]"),
    Option("volume", "show a file or directory of this machine inside, or a volume", "v", "SRC|NAME:DST[:ro]"),
    Option("volumes-from", "what another container has by -v, --mount or its image", "", "CONTAINER[:ro]"),
)

NAMESPACES = (
    Option("cgroupns", "host or private (the default): which control groups it sees", "", "MODE"),
    Option("gidmap", "groups of its user namespace (default: as --uidmap)", "", "ID:ID[:COUNT]"),
    Option("ipc", "host, private (the default) or container:NAME", "", "MODE"),
    Option("pid", "host, private (the default) or container:NAME", "", "MODE"),
    Option("privileged", "keep nothing from it: capabilities, devices, system calls, /proc and /sys"),
    Option("sysctl", "set a parameter of the kernel that its namespaces have of their own", "", "NAME=VALUE"),
    Option("time-offset", "have boottime or monotonic differ, in a time namespace of its own", "", "CLOCK=SECONDS"),
    Option("uidmap", "users of its user namespace, and which of the machine's they are", "", "ID:ID[:COUNT]"),
    Option("userns", "host (the default for root), private or container:NAME; keep-id for ordinary users", "", "MODE"),
    Option("uts", "host, private (the default) or container:NAME", "", "MODE"),
)

HEALTH = (
    Option("health-cmd", "a command for a shell in it that fails when it isn't well", "", "COMMAND"),
    Option("health-interval", "time between two of them (default: 30s)", "", "TIME"),
    Option("health-retries", "how many in a row must fail (default: 3)", "", "N"),
    Option("health-start-interval", "time between two of them in the start period (default: 5s)", "", "TIME"),
    Option("health-start-period", "time after the start in which failures don't count (default: 0s)", "", "TIME"),
    Option("health-timeout", "time after which one has failed (default: 30s)", "", "TIME"),
    Option("no-healthcheck", "don't look after it, whatever the image says"),
)

NETWORK = (
    Option("add-host", "a line for /etc/hosts; the address may be host-gateway, this machine", "", "NAME:ADDRESS"),
    Option("dns", "a name server", "", "ADDRESS"),
    Option("dns-option", "an option for the resolver", "", "OPTION"),
    Option("dns-search", "a domain to look for names in; . for none", "", "DOMAIN"),
    Option("expose", "a port that -P publishes, too", "", "PORT[-PORT][/PROTOCOL]"),
    Option("ip", "the IPv4 address on the first network", "", "ADDRESS"),
    Option("ip6", "the IPv6 address on the first network", "", "ADDRESS"),
    Option("mac-address", "the hardware address on the first network", "", "ADDRESS"),
    Option("network", "bridge (the default), another's name, host, none or container:NAME", "", "NAME[:OPTIONS]"),
    Option("network-alias", "one more name on its networks", "", "NAME"),
    Option("publish", "show a port of the container on this machine", "p", "[[ADDRESS:]PORT:]PORT[/PROTOCOL]"),
    Option("publish-all", "show all ports that the image exposes, on ports that are chosen", "P"),
)

UPDATE = (
    Option("memory", "the most memory it may use", "m", "SIZE"),
    Option("memory-reservation", "memory it is left with when the machine has little", "", "SIZE"),
    Option("memory-swap", "the most memory and swap together; -1: no limit (default: twice the memory)", "", "SIZE"),
    Option("cpus", "the most processors' time it may use, such as 1.5", "", "N"),
    Option("cpu-period", "length of a period in which --cpu-quota counts", "", "MICROSECONDS"),
    Option("cpu-quota", "the most processor time in a period", "", "MICROSECONDS"),
    Option("cpu-shares", "share of the processors when they are busy (default: 1024)", "c", "N"),
    Option("cpuset-cpus", "processors it may use, such as 0-2,4", "", "LIST"),
    Option("cpuset-mems", "memory nodes it may use", "", "LIST"),
    Option("pids-limit", "the most processes and threads; -1: no limit (default: 2048)", "", "N"),
    Option("blkio-weight", "share of block devices when they are busy, 10 to 1000", "", "N"),
)
"""Limits that can be changed while a container runs."""
DEVICE_LIMITS = (
    Option("blkio-weight-device", "the same, of one device", "", "DEVICE:N"),
    Option("device-read-bps", "the most bytes a second it may read from a device", "", "DEVICE:SIZE"),
    Option("device-write-bps", "the same for writing", "", "DEVICE:SIZE"),
    Option("device-read-iops", "the most read operations a second on a device", "", "DEVICE:N"),
    Option("device-write-iops", "the same for writing", "", "DEVICE:N"),
)
LIMITS = (
    *UPDATE,
    *DEVICE_LIMITS,
    Option("memory-swappiness", "how readily its memory is swapped out, 0 to 100 (cgroup version 1)", "", "N"),
    Option("oom-kill-disable", "have it wait instead of being killed when out of memory (cgroup version 1)"),
    Option("cgroups", "enabled (the default), best-effort or disabled", "", "MODE"),
    Option("cgroup-parent", "group below which the container's own is made", "", "PATH"),
    Option("device-cgroup-rule", "allow more devices, such as 'c 10:229 rwm'", "", "RULE"),
)

SECURITY = (
    Option("cap-add", "let it have one more capability; ALL: every one", "", "NAME"),
    Option("cap-drop", "take a capability from it; ALL: every one", "", "NAME"),
    Option("device", "let it have a device of this machine (r, w: to read, write)", "", "PATH[:PATH-INSIDE][:rwm]"),
    Option("security-opt", "see docs/security.md: seccomp=FILE, no-new-privileges, unmask=PATH...", "", "NAME[=VALUE]"),
)
