package client

import (
	"context"
	"io/fs"
	"path"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may contain, as in Linux.
const maxLinks = 40

// RealPath returns the absolute path of name without symbolic links. Elements that do not exist are
// kept as written. A relative path begins at the agent's working directory, which it reads from the
// guest's /proc. The tree may change after the call: use the result with [Safe], which fails if a
// link has appeared.
func (c *Client) RealPath(ctx context.Context, name string) (string, error) {
	done, todo := "/", name
	if !path.IsAbs(name) {
		var err error
		if done, err = c.ReadLink(ctx, "/proc/self/cwd"); err != nil {
			return "", renamed(err, "realpath", name)
		}
	}
	for links, missing := 0, false; todo != ""; {
		part, rest, _ := strings.Cut(todo, "/")
		todo = rest
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		if missing {
			done = next
			continue
		}
		i, err := c.Lstat(ctx, next)
		switch {
		case ignoreMissing(err) != nil:
			return "", err
		case err != nil:
			missing = true
			done = next
		case i.Mode().Type() != fs.ModeSymlink:
			done = next
		default:
			if links++; links > maxLinks {
				return "", &fs.PathError{Op: "realpath", Path: name, Err: syscall.ELOOP}
			}
			if i.Target() == "" {
				return "", &fs.PathError{Op: "realpath", Path: name, Err: syscall.ENOENT}
			}
			if path.IsAbs(i.Target()) {
				done = "/"
			}
			todo = i.Target() + "/" + todo
		}
	}
	return done, nil
}
