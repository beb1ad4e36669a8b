// Command picture types commands at a shell on a terminal of its own, each at a prompt. It prints
// what the terminal shows at the end, with the typed text in green:
//
//	picture -cols 92 <COMMANDS >SHOWN
//
// The commands are lines. It also types at a shell that one of them starts, for example in a guest.
// A line that begins with "! " is a command that is run in between and not shown, such as one that
// waits. With -registry FILE a registry on this host has the image in FILE meanwhile, by its own
// name. The file is as docker save writes it. scripts/picture makes the README's picture in this
// way.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"
)

// patience limits the whole run. A boot of an emulated machine takes 15 s at worst.
const patience = 3 * time.Minute

func main() {
	cols := flag.Int("cols", 92, "columns of the terminal")
	image := flag.String("registry", "", "serve the image in this `FILE` by a registry")
	flag.Parse()
	var lines []string
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		lines = append(lines, in.Text())
	}
	err := in.Err()
	if err == nil && *image != "" {
		err = serve(*image, net.Listen)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var shown screen
		if shown, err = record(ctx, *cols, lines); err == nil {
			_, err = os.Stdout.WriteString(shown.ansi())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

// atPrompt matches a last line that waits for a command: this shell's prompt, or root's of the
// guest.
var atPrompt = regexp.MustCompile(`^(\$|/\S* #|~ #) $`)

// serve serves the image in a file by a registry at the address that its name has, until this
// process ends.
func serve(path string, listen func(network, address string) (net.Listener, error)) error {
	fail := func(err error) error { return fmt.Errorf("serve the image in %s: %w", path, err) }
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	manifest, err := tarball.LoadManifest(open)
	if err != nil {
		return fail(err)
	}
	tag, err := name.NewTag(manifest[0].RepoTags[0])
	if err != nil {
		return fail(err)
	}
	image, err := tarball.Image(open, &tag)
	if err != nil {
		return fail(err)
	}
	ln, err := listen("tcp", tag.RegistryStr())
	if err != nil {
		return fail(err)
	}
	go http.Serve(ln, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	if err := remote.Write(tag, image); err != nil {
		return fail(err)
	}
	return nil
}

// record types the lines at a shell. It returns what the terminal shows when the last is done.
func record(ctx context.Context, cols int, lines []string) (screen, error) {
	var shown screen
	master, slave, err := terminal(cols)
	if err != nil {
		return shown, fmt.Errorf("open a terminal: %w", err)
	}
	defer master.Close()
	sh := exec.CommandContext(ctx, "sh") // its end hangs the terminal up
	sh.Env = append(os.Environ(), "PS1=$ ", "TERM=xterm")
	sh.Stdin, sh.Stdout, sh.Stderr = slave, slave, slave
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = sh.Start()
	slave.Close()
	if err != nil {
		return shown, err
	}
	defer func() {
		sh.Process.Kill()
		sh.Wait()
	}()
	buf := make([]byte, 4096)
	for {
		for shown.echoing || !atPrompt.MatchString(shown.last()) {
			n, err := master.Read(buf)
			shown.write(string(buf[:n]))
			if err != nil {
				return shown, fmt.Errorf("no prompt (%v) after\n%s", err, shown.ansi())
			}
		}
		if len(lines) == 0 {
			shown.dropLast()
			return shown, nil
		}
		if hidden, ok := strings.CutPrefix(lines[0], "! "); ok {
			if out, err := exec.CommandContext(ctx, "sh", "-c", hidden).CombinedOutput(); err != nil {
				return shown, fmt.Errorf("%s: %w: %s", hidden, err, out)
			}
			lines = lines[1:]
			continue
		}
		if _, err := io.WriteString(master, lines[0]+"\r"); err != nil {
			return shown, err
		}
		shown.typing(lines[0])
		lines = lines[1:]
	}
}

// terminal opens a terminal with cols columns, and more lines than are shown.
func terminal(cols int) (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: uint16(cols)})
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}
