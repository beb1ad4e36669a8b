package oci

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The forms of a source besides a registry's reference.
const (
	archiveForm       = "docker-archive:"
	layoutForm        = "oci:"
	layoutArchiveForm = "oci-archive:"
	daemonForm        = "docker-daemon:"
)

// Source names an image.
type Source struct {
	// text is the source as the user gave it.
	text string
	// ref is the image's name in a registry, or nil.
	ref name.Reference
	// form is one of the other forms, of the file or directory path. tag names an image in it, or
	// is "". An image of a daemon has no path.
	form, path, tag string
}

// A SourceError reports a text that names no image.
type SourceError struct{ Text, Reason string }

func (e *SourceError) Error() string { return fmt.Sprintf("image %q: %s", e.Text, e.Reason) }

// ParseSource parses a registry's reference such as alpine:3.20, docker-archive:FILE[:TAG],
// oci-archive:FILE[:TAG], oci:DIR[:TAG] or docker-daemon:NAME. A reference without a registry is
// one of Docker Hub, and without a tag it has the tag latest.
func ParseSource(text string) (*Source, error) {
	for _, form := range []string{archiveForm, layoutForm, layoutArchiveForm} {
		rest, ok := strings.CutPrefix(text, form)
		if !ok {
			continue
		}
		s := &Source{text: text, form: form, path: rest}
		// A path may have a colon itself.
		if _, err := os.Stat(rest); err != nil {
			if path, tag, ok := strings.Cut(rest, ":"); ok {
				s.path, s.tag = path, tag
			}
		}
		if s.path == "" {
			return nil, &SourceError{text, "the path is missing"}
		}
		return s, nil
	}
	if inDaemon, ok := strings.CutPrefix(text, daemonForm); ok {
		ref, err := name.ParseReference(inDaemon)
		if err != nil {
			return nil, &SourceError{text, "want docker-daemon:NAME[:TAG]"}
		}
		return &Source{text: text, form: daemonForm, tag: familiar(ref.Name())}, nil
	}
	ref, err := name.ParseReference(text)
	switch {
	case strings.HasPrefix(text, "/") || strings.HasPrefix(text, "."):
		return nil, &SourceError{text, "a path; use --rootfs for a root file system, docker-archive:FILE for the output of docker save, or oci:DIR or oci-archive:FILE"}
	case err != nil && strings.ToLower(text) != text:
		return nil, &SourceError{text, "not a name of an image; a repository's name is in lower case"}
	case err != nil:
		return nil, &SourceError{text, "not a name of an image; want [REGISTRY/]NAME[:TAG] or [REGISTRY/]NAME@sha256:DIGEST"}
	}
	return &Source{text: text, ref: ref}, nil
}

// String returns the source in the form that docker shows: without the registry of Docker Hub, and
// with the tag.
func (s *Source) String() string {
	if s.ref == nil {
		return s.text
	}
	return familiar(s.ref.Name())
}

// Text returns the source as it was given.
func (s *Source) Text() string { return s.text }

// Remote reports whether the image comes from a registry.
func (s *Source) Remote() bool { return s.ref != nil }

// familiar shortens the full name of an image on Docker Hub.
func familiar(full string) string {
	short, ok := strings.CutPrefix(full, name.DefaultRegistry+"/")
	if ok {
		short = strings.TrimPrefix(short, "library/")
	}
	return short
}

// ParsePlatform parses linux/ARCH[/VARIANT], or ARCH alone. The architecture may have the kernel's
// name.
func ParsePlatform(text string) (v1.Platform, error) {
	if !strings.Contains(text, "/") {
		text = "linux/" + text
	}
	p, err := v1.ParsePlatform(text)
	if err != nil || p.OS != "linux" || p.Architecture == "" || p.OSVersion != "" {
		return v1.Platform{}, fmt.Errorf("platform %q: want linux/ARCH, such as linux/arm64", text)
	}
	switch p.Architecture {
	case "x86_64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	}
	return *p, nil
}

// checkPlatform returns an error if the image is for another architecture. Docker leaves the field
// empty for an image from scratch at times.
func checkPlatform(config *v1.ConfigFile, p v1.Platform) error {
	if config.OS != "" && config.OS != p.OS {
		return fmt.Errorf("it is an image for %s, and the machine runs linux", config.OS)
	}
	if a := config.Architecture; a != "" && a != p.Architecture {
		return &PlatformError{a, p.Architecture}
	}
	return nil
}

// A PlatformError reports an image for another architecture.
type PlatformError struct{ Image, Machine string }

func (e *PlatformError) Error() string {
	return fmt.Sprintf("it is an image for %s, and the machine is an %s; --arch %[1]s emulates one", e.Image, e.Machine)
}

// ErrAbsent is wrapped by the error for an image that is not in the cache and may not be pulled.
var ErrAbsent = errors.New("not in the cache")
