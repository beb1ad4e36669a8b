// Package image makes what a machine boots from: the root image, a squashfs with vm-init in it, and the overlay image, an empty ext4.
//
// Nothing is mounted, no root is needed, and what the user gives is only read. A directory, a tar and the default system all
// become one tar stream ([stream]) into which vm-init and the device nodes are put, and mksquashfs reads that: owners, modes, device
// nodes, links and extended attributes come through, whoever runs it. A squashfs is taken as it is if it has a vm-init; otherwise
// vm-init is appended to a copy.
//
// Root images are kept in the cache. Their key is of vm-init's content and of the source's identity: the inodes, sizes and change times
// of all its files, but not what is in them, so that looking whether a directory has changed costs a walk and not a read.
package image
