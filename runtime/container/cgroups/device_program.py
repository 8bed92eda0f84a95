"""The list of devices for control groups of version 2, which have a program decide about each use of a device."""

import struct

from runtime.container.devices import DeviceRule

# include/uapi/linux/bpf.h: struct bpf_cgroup_dev_ctx {access_type = access << 16 | kind, major, minor}
_KIND = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_LOAD_WORD, _MOVE, _MOVE_CONST, _AND, _SHIFT_RIGHT = 0x61, 0xBC, 0xB4, 0x54, 0x74
_JUMP_IF_NOT, _EXIT = 0x56, 0x95
_BITS_JUMP_IF_NOT = 0x5E  # compares two registers


def program(rules: list[DeviceRule]) -> bytes:
    """BPF for BPF_PROG_TYPE_CGROUP_DEVICE: returns 1 if one of `rules` has the device and all of the access, else 0.

    Precondition: ALL is not among them, for the kernel takes no program with instructions that are never reached.
    """
    code = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_MOVE, 3, 2),
        _instruction(_AND, 2, constant=0xFFFF),  # kind
        _instruction(_SHIFT_RIGHT, 3, constant=16),  # access
        _instruction(_LOAD_WORD, 4, 1, 4),  # major
        _instruction(_LOAD_WORD, 5, 1, 8),  # minor
    ]
    for rule in rules:
        code += _test(rule)
    code += [_instruction(_MOVE_CONST, 0, constant=0), _instruction(_EXIT)]
    return b"".join(code)


def _test(rule: DeviceRule) -> list[bytes]:
    """Return 1 if the rule holds; else go on behind."""
    accepted = sum(_ACCESS[letter] for letter in set(rule.access))
    tests: list[tuple[int, int]] = []
    if rule.kind != "a":
        tests.append((2, _KIND[rule.kind]))
    if rule.major >= 0:
        tests.append((4, rule.major))
    if rule.minor >= 0:
        tests.append((5, rule.minor))
    body = [_instruction(_MOVE_CONST, 0, constant=1), _instruction(_EXIT)]
    if accepted != 7:  # what is asked for must be within what is accepted
        mask = [_instruction(_MOVE, 6, 3), _instruction(_AND, 6, constant=accepted)]
        body = [*mask, _instruction(_BITS_JUMP_IF_NOT, 6, 3, len(body)), *body]
    for register, value in reversed(tests):
        body.insert(0, _instruction(_JUMP_IF_NOT, register, 0, len(body), value))
    return body


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, constant: int = 0) -> bytes:
    """struct bpf_insn; the 32-bit variants of all operations."""
    return struct.pack("=BBhi", code, source << 4 | target, offset, constant)
