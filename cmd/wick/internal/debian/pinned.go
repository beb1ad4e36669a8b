package debian

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"wick/cmd/wick/internal/archive"
)

// A pin is one version of a package, for hosts whose apt does not have it.
type pin struct {
	file   string // in Debian's archive
	size   int64  // in bytes
	sha256 string
}

// pins has the pinned packages by name and architecture. They are those of Debian 12, whose signed
// lists have the checksums.
var pins = map[string]pin{
	"linux-image-cloud-amd64_amd64": {"pool/main/l/linux-signed-amd64/linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb",
		26484304, "efe19f605b6f54a8352e68d85a629abb2d30b72a085faef603a9152590baa791"},
	"linux-image-cloud-arm64_arm64": {"pool/main/l/linux-signed-arm64/linux-image-6.1.0-50-cloud-arm64_6.1.176-1_arm64.deb",
		21130624, "9d41a53f5d687ae1a33cf546d0ed8be955f72e5f9e97b2b4e45e41dff3353b97"},
	"linux-image-amd64_amd64": {"pool/main/l/linux-signed-amd64/linux-image-6.1.0-50-amd64_6.1.176-1_amd64.deb",
		70305560, "7b5597492a0a65aee61985a492e6bcc3f2cde830072a0e3b3d8c7e1b90279bd3"},
	"linux-image-arm64_arm64": {"pool/main/l/linux-signed-arm64/linux-image-6.1.0-50-arm64_6.1.176-1_arm64.deb",
		59515068, "914f75b57a8e165d85fb910c3e2dcc7000a05a9fea3f42f90b26e8dd590d5f06"},
	"busybox-static_amd64": {"pool/main/b/busybox/busybox-static_1.35.0-4+deb12u1+b1_amd64.deb",
		928188, "3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744"},
	"busybox-static_arm64": {"pool/main/b/busybox/busybox-static_1.35.0-4+deb12u1+b1_arm64.deb",
		822236, "732c9135564fc71337e0e05fb4da4d11e6c28c1834bce3e405e575afef2a52f5"},
}

// mirrors returns where Debian's archive is. The second keeps each version for ever.
func mirrors() []string {
	if mirror := os.Getenv("WICK_DEBIAN_MIRROR"); mirror != "" {
		return []string{strings.TrimSuffix(mirror, "/")}
	}
	return []string{"http://deb.debian.org/debian", "http://snapshot.debian.org/archive/debian/20261129T000000Z"}
}

// headLimit limits the wait for the head of an answer.
const headLimit = 30 * time.Second

// unpackPinned fetches a pinned package by HTTP, through the proxy of the environment, and unpacks
// it into dir. The checksum makes up for a connection that is not encrypted.
func (p *pin) unpackPinned(ctx context.Context, dir string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = headLimit
	defer transport.CloseIdleConnections()
	var failed error
	for _, mirror := range mirrors() {
		deb, err := p.download(ctx, &http.Client{Transport: transport}, mirror+"/"+p.file)
		if err == nil {
			return unpackDeb(deb, dir)
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return failed
}

// download returns the content of the package at a URL.
func (p *pin) download(ctx context.Context, c *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", url, answer.Status)
	}
	deb, err := io.ReadAll(io.LimitReader(answer.Body, p.size+1))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	if sum := sha256.Sum256(deb); hex.EncodeToString(sum[:]) != p.sha256 {
		return nil, fmt.Errorf("get %s: the checksum of its %d bytes is not that of the package", url, len(deb))
	}
	return deb, nil
}

// unpackDeb unpacks a package, which is an ar archive with the files in its data.tar.
func unpackDeb(deb []byte, dir string) error {
	const magic, headSize = "!<arch>\n", 60
	rest, ok := bytes.CutPrefix(deb, []byte(magic))
	if !ok {
		return errors.New("unpack the package: it is not an ar archive")
	}
	for len(rest) >= headSize {
		name := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		rest = rest[headSize:]
		if err != nil || size < 0 || size > len(rest) {
			break
		}
		if strings.HasPrefix(name, "data.tar") {
			return unpackData(rest[:size], dir)
		}
		rest = rest[min(size+size%2, len(rest)):]
	}
	return errors.New("unpack the package: it has no data.tar")
}

// unpackData unpacks the files of a package. Owners and times are left out.
func unpackData(data []byte, dir string) error {
	plain, err := archive.Decompress(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for in := tar.NewReader(plain); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack the package: %w", err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if name == "" {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeSymlink:
			err = root.Symlink(h.Linkname, name)
		case tar.TypeLink:
			err = root.Link(strings.TrimPrefix(path.Clean("/"+h.Linkname), "/"), name)
		case tar.TypeReg:
			err = writeFile(root, name, h.FileInfo().Mode().Perm(), in)
		}
		if err != nil {
			return err
		}
	}
}

func writeFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
