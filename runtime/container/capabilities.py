"""The capabilities a container's processes can have at most.

The set podman gives: Docker's without MKNOD, NET_RAW and AUDIT_WRITE.
"""

# include/uapi/linux/capability.h
_NUMBERS = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "SYS_CHROOT": 18,
    "SETFCAP": 31,
}

DEFAULT = sum(1 << number for number in _NUMBERS.values())
"""As a mask: bit N is capability N."""
