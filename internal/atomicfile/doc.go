// Package atomicfile writes files that a user named, and files that must never be incomplete.
//
// A regular file is replaced. The data goes into a temporary file beside it, which is synced and
// renamed when it is complete. Until then, and after an error, the target is unchanged. An existing
// file keeps its mode and owner. A new file gets the caller's mode, reduced by the umask. Other
// names of the same file (hard links) keep the old content. ACLs and extended attributes are not
// copied.
//
// Links are followed, and stay. A target that is not a regular file (a device, a FIFO) is opened
// and written. So is a descriptor that this process has inherited (/dev/stdout, /dev/fd/N); its
// earlier content stays. Sockets and directories are refused. A regular file is written in place if
// it cannot be replaced: it is a mount point, its directory accepts no new files, or its owner is
// another user and we are not root.
//
// [Create] finds out whether the target can be written. So a command can fail at once, and not
// after hours of work.
package atomicfile
