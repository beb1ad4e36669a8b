package client

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
)

// UploadDir copies what is in the directory local of this host into the guest's directory dir,
// and makes dir if it is missing. It copies modes, numeric owners, times, symbolic and hard
// links, holes, FIFOs, devices, and extended attributes with capabilities and POSIX ACLs; sockets
// are left out. On other systems than Linux it copies modes, times and symbolic links. Note is
// told what is lost.
//
// The error is as for [PackDir], or as for [Client.TarTo]. Files copied before an error stay.
func (c *Client) UploadDir(ctx context.Context, local, dir string, o TarOptions) error {
	if _, err := os.ReadDir(local); err != nil {
		return err // before the guest has a directory
	}
	o.Contents, o.Attributes = true, true
	o.oneAtATime()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := PackDir(w, local, o)
		w.CloseWithError(err) // io.EOF if nil
		packed <- err
	}()
	err := c.TarTo(ctx, r, dir, o)
	r.CloseWithError(errStopped)
	if own := <-packed; own != nil && !errors.Is(own, errStopped) {
		return own // TarTo's error is a consequence
	}
	return err
}

// errStopped ends one side of a copy when the other side has ended.
var errStopped = errors.New("the other side of the copy ended")

// DownloadDir copies what is in the guest's directory dir into the directory local of this host,
// and makes local if it is missing. It copies modes, times, symbolic and hard links, and on Linux
// holes, FIFOs and extended attributes. It copies numeric owners if this process is root and o
// does not say otherwise. Without owners, only user attributes are copied, and no capabilities
// and ACLs. Sockets and devices are left out. Note is told what is lost. Existing files are
// replaced, and existing directories kept.
//
// The error is as for [UnpackDir], or as for [Client.TarFrom]. Files copied before an error stay.
func (c *Client) DownloadDir(ctx context.Context, dir, local string, o TarOptions) error {
	o.NoOwner = o.NoOwner || os.Geteuid() != 0
	o.Prefix, o.Contents, o.Attributes = "", true, true
	o.oneAtATime()
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := c.TarFrom(ctx, dir, w, o)
		w.CloseWithError(err) // io.EOF if nil
		sent <- err
	}()
	err := UnpackDir(r, local, o)
	r.CloseWithError(errStopped)
	if theirs := <-sent; theirs != nil && !errors.Is(theirs, errStopped) {
		return theirs
	}
	return err
}

// oneAtATime keeps calls of Note from overlapping, if two goroutines have the options.
func (o *TarOptions) oneAtATime() {
	note := o.Note
	if note == nil {
		return
	}
	var mu sync.Mutex
	o.Note = func(name, reason string) {
		mu.Lock()
		defer mu.Unlock()
		note(name, reason)
	}
}
