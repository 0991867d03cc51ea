// Package atomicfile is how vmtb writes files that a user named, and files that must never be half written.
//
// A regular file is replaced: the data goes into a temporary file beside it, which is synced and
// renamed when it is whole. Until then, and after an error, the target is as it was. An existing
// file keeps its mode and owner; a new one gets the mode that the caller wants, less the umask.
// Other names of the same file (hard links) keep the old content. ACLs and extended attributes are
// not copied.
//
// Links are followed, and stay. A target that is not a regular file (a device, a FIFO) is opened
// and written. So is a descriptor that this process has inherited (/dev/stdout, /dev/fd/N): what it
// has been used for already stays. A socket and a directory are refused. A regular file is written
// in place if it cannot be replaced: it is a mount point, its directory takes no new files, or its
// owner is another user and we are not root.
//
// [Create] finds out whether the target can be written. That is known before the work of hours
// whose result goes into it.
package atomicfile
