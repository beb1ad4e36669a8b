package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
)

// box returns the manifest and the other blobs of an image made of busybox, with a command and
// with more layers above it.
func box(command []string, more ...[]byte) (manifest []byte, blobs [][]byte, err error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, nil, err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, nil, err
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, nil, err
	}
	layer := archive(func(w *tar.Writer) {
		for _, dir := range []string{"bin", "etc", "root", "proc", "sys", "dev", "run", "tmp"} {
			w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755})
		}
		file(w, "bin/busybox", program, 0o755)
		for _, name := range strings.Fields(string(applets)) {
			if name != "busybox" {
				w.WriteHeader(&tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"})
			}
		}
		file(w, "etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"), 0o644)
		file(w, "etc/group", []byte("root:x:0:\nuser:x:1000:\n"), 0o644)
	})
	blobs = append([][]byte{layer}, more...)
	var sums []string
	var descriptors []any
	for _, b := range blobs {
		sums = append(sums, digest(b))
		descriptors = append(descriptors, descriptor(kind+"layer.v1.tar", b))
	}
	config := encode(map[string]any{
		"architecture": goArch, "os": "linux",
		"config": map[string]any{"Env": []string{"PATH=/bin"}, "Cmd": command},
		"rootfs": map[string]any{"type": "layers", "diff_ids": sums},
	})
	manifest = encode(map[string]any{
		"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
		"config": descriptor(kind+"config.v1+json", config), "layers": descriptors,
	})
	return manifest, append(blobs, config), nil
}

// kind is the beginning of the types of OCI's blobs.
const kind = "application/vnd.oci.image."

// boxImage returns an image made of busybox as an archive in the OCI layout, with more layers above
// it.
func boxImage(name string, more ...[]byte) ([]byte, error) {
	manifest, blobs, err := box([]string{"sh"}, more...)
	if err != nil {
		return nil, err
	}
	entry := descriptor(kind+"manifest.v1+json", manifest)
	entry["annotations"] = map[string]string{"io.containerd.image.name": name}
	index := encode(map[string]any{
		"schemaVersion": 2, "mediaType": kind + "index.v1+json", "manifests": []any{entry},
	})
	return archive(func(w *tar.Writer) {
		file(w, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
		file(w, "index.json", index, 0o644)
		for _, blob := range append(blobs, manifest) {
			file(w, "blobs/sha256/"+strings.TrimPrefix(digest(blob), "sha256:"), blob, 0o644)
		}
	}), nil
}

func archive(fill func(*tar.Writer)) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	fill(w)
	w.Close()
	return b.Bytes()
}

func file(w *tar.Writer, name string, content []byte, mode int64) {
	w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))})
	io.Copy(w, bytes.NewReader(content))
}

func encode(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func descriptor(kind string, b []byte) map[string]any {
	return map[string]any{"mediaType": kind, "digest": digest(b), "size": len(b)}
}
