package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"wick/cmd/wick/internal/cache"
)

// daemonKind is the first part of the names of archives from a daemon in the cache.
const daemonKind = "daemon"

// openDaemon has a docker daemon save an image, unless the cache has what the daemon would save.
func openDaemon(ctx context.Context, dir cache.Dir, s *Source, p v1.Platform) (*Image, error) {
	d, err := dialDaemon(os.Getenv("DOCKER_HOST"))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.text, err)
	}
	defer d.client.CloseIdleConnections()
	i, err := d.open(ctx, dir, s, p)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.text, err)
	}
	return i, nil
}

// daemon is a connection to a docker daemon.
type daemon struct {
	client *http.Client
	where  string
}

// dialDaemon returns the daemon of $DOCKER_HOST, or the one of this host.
func dialDaemon(host string) (*daemon, error) {
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	u, err := url.Parse(host)
	network, address := "unix", ""
	switch {
	case err == nil && u.Scheme == "unix":
		address = u.Path
	case err == nil && u.Scheme == "tcp":
		network, address = "tcp", u.Host
	default:
		return nil, fmt.Errorf("DOCKER_HOST %q: wick knows unix:// and tcp:// alone; use docker save -o FILE, and docker-archive:FILE", host)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	return &daemon{&http.Client{Transport: &http.Transport{DialContext: dial}}, address}, nil
}

// get asks the daemon for something of an image. The caller must close the body.
func (d *daemon) get(ctx context.Context, image, what string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/images/"+image+"/"+what, nil)
	if err != nil {
		return nil, err
	}
	resp, err := d.client.Do(req)
	if _, unreachable := errors.AsType[*net.OpError](err); unreachable {
		return nil, fmt.Errorf("no docker daemon answers at %s: %w; where there is one: docker save -o FILE %s, and docker-archive:FILE", d.where, err, image)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var said struct{ Message string }
	json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&said)
	if said.Message == "" {
		said.Message = resp.Status
	}
	return nil, fmt.Errorf("the docker daemon says: %s", said.Message)
}

// open opens an image.
func (d *daemon) open(ctx context.Context, dir cache.Dir, s *Source, p v1.Platform) (*Image, error) {
	body, err := d.get(ctx, s.tag, "json")
	if err != nil {
		return nil, err
	}
	var has struct{ ID string }
	err = json.NewDecoder(io.LimitReader(body, longestConfig)).Decode(&has)
	body.Close()
	id, bad := v1.NewHash(has.ID)
	if err := errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("ask the docker daemon: %w", err)
	}
	path, err := dir.Get(ctx, daemonKind+"-"+id.Hex+".tar", func(ctx context.Context, tmp string) error {
		body, err := d.get(ctx, s.tag, "get")
		if err != nil {
			return err
		}
		defer body.Close()
		return writeFile(tmp, body)
	})
	if err != nil {
		return nil, err
	}
	saved := &Source{text: s.text, form: archiveForm, path: path}
	img, err := openArchive(saved, p)
	if err != nil {
		return nil, err
	}
	return fromImage(saved, img, p)
}

// writeFile writes a new file.
func writeFile(path string, content io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
