"""What --help prints."""

HELP = """\
Usage: pyunionfs [SOURCE] MOUNTPOINT [-f] [-d] -o lowerdir=DIR[:DIR...][,upperdir=DIR,workdir=DIR][,OPTION...]

Mount directories as one tree: what is changed in it goes to upperdir, the directories of lowerdir stay as they are.
Returns when it is mounted. umount(8), fusermount3 -u or a signal to the driver ends it.

  -f               stay in the foreground
  -d, --debug      the same, and write every request to standard error
  -h, --help       print this
  -V, --version    print the version
  --stats [--json] MOUNTPOINT    print which requests a mounted union got, and how many of each
  -o OPTIONS       options, separated by commas; may be repeated. \\: \\, \\\\ stand for : , \\ in a path

Layers
  lowerdir=A:B:C   read-only directories, uppermost first (lowerdir+=A adds one)
  upperdir=DIR     directory that takes the changes; without it the mount is read-only
  workdir=DIR      empty directory on the filesystem of upperdir
  dialect=WORD     how layers mark deletions. overlay: devices 0:0 and xattrs, as kernel overlayfs;
                   oci: .wh. files; auto, the default: both are read
  userxattr        keep marks in user.overlay.* (default: trusted.overlay.* where possible)

Behaviour
  redirect_dir=off directories of lower layers can't be renamed (EXDEV; default: on)
  rename=copy      rename such directories by copying all of them up, not by a redirect (default: redirect)
  metacopy=on      changes of attributes alone copy no data up (default: off, as kernel overlayfs)
  volatile         never sync, faster; a crash of the machine may damage upperdir (also: fsync=0)
  timeout=SECONDS  how long the kernel keeps names and attributes (default: for ever)
  noxattrs, noacl  without extended attributes, without access control lists
  static_nlink     one link for every directory
  binding=WORD     how requests are carried: direct, by our own code, or pyfuse3 (auto, the default: direct)
  lower_io=WORD    files of lower layers: cached, by this mount, coherent with what is written; shared, by the layers,
                   faster; auto, the default: shared if nothing can be written (binding=direct; others: cached)

Owners
  uidmapping=ID_IN_LAYERS:ID_SHOWN:COUNT[:...], gidmapping=...
                   show ids of the layers as others, and keep new ones so; ids that aren't mapped show as 65534
  squash_to_uid=ID, squash_to_gid=ID, squash_to_root    show one owner, one group, or root, of everything
  xattr_permissions=1|2  keep owners and modes in an xattr: security. or user.fuseoverlayfs.override_stat

Mount
  ro, nosuid, nodev, noexec, noatime, nodiratime, nosymfollow, and their opposites
  allow_other      let other users in (default: if root mounts; allow_other=off: nobody else)
  private          keep the mount from other mount namespaces
  fsname=NAME      what mount tables show as the source
  max_read=BYTES, context=LABEL, fscontext=, defcontext=, rootcontext=    for the kernel

Accepted in the one value that is so anyway
  index=on, nfs_export=off, xino=on|auto|off
Accepted without effect
  threaded, clone_fd, max_idle_threads, max_threads, fast_ino, writeback, max_write, max_readahead, max_background,
  default_permissions, nonempty, subtype, and words of mount(8) and fstab(5): defaults, nofail, _netdev, user, x-*, ...
Refused
  ino32_t, plugins, allow_root, auto_unmount, remount, and what is unknown
"""
