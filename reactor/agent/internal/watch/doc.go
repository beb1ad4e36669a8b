// Package watch reports changes of files to hosts, by inotify(7).
//
// A watch has an inotify instance of its own, with a kernel's watch for each directory. Events
// wait in the kernel's queue until the host has granted credit for their records. So a slow host
// costs the agent no memory. When the queue overflows, the watch begins again, and the host is
// told to look at the files.
//
// The kernel's events name a directory, which [node] leads to, and a name in it. They tell what
// happened some time ago, and a directory is opened by the path that it has now. The two may
// differ when directories are renamed. These rules keep the host's view right:
//
//   - A directory is watched before its content is read. A file that appears meanwhile is reported
//     twice.
//   - A directory that is found at another place than expected was renamed. Its events come later,
//     and are then no news.
//   - A directory that cannot be found may have moved with one above it. It is looked for again
//     after the next rename of one above it.
//   - If the two cannot be reconciled, the watch begins again.
//
// All work is done in turns of bounded length. A watch holds no directory open while it waits for
// changes, so that file systems can be unmounted.
package watch
