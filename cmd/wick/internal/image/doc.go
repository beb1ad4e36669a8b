// Package image makes the images that a machine boots from. The root image is a squashfs with
// vm-init in it, and the overlay image is an empty ext4.
//
// Making them mounts nothing and needs no root, and the user's source is only read. A directory, a
// tar and the default system all become one tar stream ([stream]), with vm-init and the device
// nodes added. mksquashfs reads the stream, so any user can make an image with owners, modes,
// device nodes, links and extended attributes. A squashfs is used unchanged if it has a vm-init.
// Otherwise vm-init is appended to a copy.
//
// Root images are cached. The key is the content of vm-init and the identity of the source: the
// inodes, sizes and change times of all its files. To find whether a directory has changed costs a
// walk, not reading its files.
package image
