"""What a union is made of and how it behaves: the value that a command line or a caller in Python fills in."""

from typing import Literal, NamedTuple

IdMap = tuple[tuple[int, int, int], ...]
"""Rows (id in the layers, id that users see, count): those of the user namespace for which the layers were made."""


class UnionOptions(NamedTuple):
    """Layers and behaviour of a union; the defaults are those of kernel overlayfs with redirect_dir=on, index=on."""

    lower: tuple[bytes, ...]
    """Paths of the read-only layers, uppermost first."""
    upper: bytes | None = None
    """Path of the writable layer; None makes the union read-only."""
    workdir: bytes | None = None
    """An empty directory on the filesystem of `upper`, for what must appear in it at once."""
    lower_workdir: bytes | None = None
    """Of a read-only union: the workdir with which the uppermost of `lower` is or was an upper. Its index says what the
    other names of lower hard links mean that were copied up."""
    dialect: Literal["auto", "overlay", "oci"] = "overlay"
    """How layers mark deletions. overlay: char 0:0 and xattrs; oci: `.wh.` files; auto: whichever is met."""
    redirect_dir: bool = True
    """Whether directories with lower content can be renamed, or rename gives EXDEV."""
    rename: Literal["redirect", "copy"] = "redirect"
    """How they are: with a redirect, which copies nothing; or by copying all of it up, as is done where the upper
    holds no redirects."""
    metacopy: bool = False
    """Whether changes of metadata alone copy up metadata alone; where redirects and trusted xattrs can be stored."""
    volatile: bool = False
    """Never sync: a crash of the machine may lose or damage the upper."""
    userxattr: bool | None = None
    """Marks are kept in user.overlay.* (True), trusted.overlay.* (False), or whichever the upper can hold (None)."""
    xattrs: bool = True
    """Whether users see and set extended attributes."""
    acl: bool = True
    """Whether POSIX ACLs are served."""
    static_nlink: bool = False
    """Report one link for every directory. Merged directories always do; kept for fuse-overlayfs's option."""
    allow_nested: bool = False
    """Allow upper and workdir inside a lower layer: they are then visible in it, as ordinary directories."""
    uid_map: IdMap = ()
    """Users who own objects; empty: those that the layers say."""
    gid_map: IdMap = ()
    squash_uid: int | None = None
    """Who owns everything, as users see it."""
    squash_gid: int | None = None
    xattr_permissions: Literal[0, 1, 2] = 0
    """1 and 2: the upper holds owners and modes in an xattr, override_stat of security.fuseoverlayfs. or
    user.fuseoverlayfs. Layers that do so already are read so in any case, unless this is 0 and the dialect overlay."""
