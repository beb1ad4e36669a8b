// Package oci gets container images and makes root images of them. An image comes from a registry,
// an archive of docker save, or an OCI layout.
//
// The layers of a registry's image are kept in the cache by their digests, and each is fetched
// once. A fetched layer is compared with its digest, and an unpacked one with the digest in the
// configuration. A record says which image a name had when it was pulled.
//
// The layers are merged in a stream, with no file on the disk and without root. The first pass
// reads the headers of all layers, the lowest first, and keeps a tree of names (merge.go). The
// second pass copies the content of the files that are left in the tree. So a link, a whiteout or a
// name of a layer can only change the tree, and never a file of the host.
//
// Merged images are kept in the cache by the digest of their configuration, which has the digests
// of all unpacked layers.
package oci
