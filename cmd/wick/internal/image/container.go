package image

import (
	"archive/tar"
	"bytes"
	"io"
	"path"
	"strings"
)

// Container images often come in a form that is not a root: an archive of docker save, an OCI
// layout, or a single layer. A machine booted from one would have no program. The first entries
// show the form, so it is refused before anything is packed.

// exportIt is the command that makes a root file system from a container image.
const exportIt = `docker export "$(docker create IMAGE)" > root.tar (podman has the same commands)`

const (
	savedImage  = "a container image as docker save writes it, not a root file system; wick run docker-archive:FILE runs it"
	layoutImage = "a container image in the OCI layout, not a root file system; wick run oci:DIR runs it, and a tar must be unpacked first"
	layerOf     = "one layer of a container image, not a root file system (it deletes a file of the layers below: "
)

// foreign returns the reason why an entry cannot be part of a root file system, or "".
func foreign(name string, h *tar.Header) string {
	dir, base := path.Split(name)
	first, rest, _ := strings.Cut(name, "/")
	switch {
	case strings.HasPrefix(base, ".wh."):
		return layerOf + "/" + name + "); " + exportIt
	case h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0: // overlayfs marks a deleted file so
		return layerOf + "/" + name + "); " + exportIt
	case name == "oci-layout" && h.Typeflag == tar.TypeReg:
		return layoutImage
	case dir == "blobs/sha256/" && isHex(base), dir == "blobs/sha512/" && isHex(base):
		return "a container image (docker save or the OCI layout), not a root file system; wick run docker-archive:FILE or oci:DIR runs it"
	case isHex(first) && (rest == "layer.tar" || rest == "VERSION" || rest == "json"):
		return savedImage
	case dir == "" && h.Typeflag == tar.TypeReg:
		id, kind, _ := strings.Cut(strings.TrimPrefix(base, "sha256:"), ".")
		if isHex(id) && (kind == "" || kind == "json" || kind == "tar" || kind == "tar.gz") {
			return savedImage
		}
	}
	return ""
}

// isHex reports whether a name is a hash.
func isHex(name string) bool {
	return len(name) >= 64 && strings.Trim(name, "0123456789abcdef") == ""
}

// manifestMost limits how much of a manifest is read, in bytes.
const manifestMost = 1 << 20

// isManifest reports whether a file at the top is the list of layers of a saved image. It returns a
// reader of the whole content, because it reads the beginning itself.
func isManifest(name string, content io.Reader) (bool, io.Reader, error) {
	if name != "manifest.json" || content == nil {
		return false, content, nil
	}
	head, err := io.ReadAll(io.LimitReader(content, manifestMost))
	found := bytes.Contains(head, []byte(`"Layers"`)) && bytes.Contains(head, []byte(`"Config"`))
	return found, io.MultiReader(bytes.NewReader(head), content), err
}

// others lists kinds of files that are sometimes given as a root, by their first bytes.
var others = []struct {
	offset       int
	magic, words string
}{
	{0, "QFI\xfb", "a disk image (qcow2); copy the files of its root into a directory or a tar"},
	{0, "KDMV", "a disk image (VMDK); copy the files of its root into a directory or a tar"},
	{0, "PK\x03\x04", "a zip archive; unpack it into a directory"},
	{0, "07070", "a cpio archive; unpack it into a directory: cpio -id"},
	{0, "\x7fELF", "a program or a kernel; a kernel is given with --kernel"},
	{510, "\x55\xaa", "a disk image; copy the files of its root into a directory or a tar"},
	{1024 + 56, "\x53\xef", "an ext4; mount it, and give the directory"},
	{32769, "CD001", "a CD image; mount it, and give the directory"},
}

// otherKind returns the kind of a file in others, or "".
func otherKind(head []byte) string {
	for _, o := range others {
		if len(head) >= o.offset && bytes.HasPrefix(head[o.offset:], []byte(o.magic)) {
			return o.words
		}
	}
	return ""
}
