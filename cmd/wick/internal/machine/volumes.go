package machine

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/vmm"
)

// Volume is a file system that vm-init mounts beside the root. It has a directory of the host, a
// disk image, or, with neither, memory.
type Volume struct {
	// Target is its absolute path in the guest, without spaces and colons.
	Target string
	// Dir is a directory of the host, which the guest shares. With Copy the guest gets a copy of
	// it, whose changes are lost. Firecracker can only copy.
	Dir  string
	Copy bool
	// Disk is an ext4 image. It grows to the size of the file.
	Disk string
	// ReadOnly keeps the guest from writing to it.
	ReadOnly bool
	// Options are further options of the mount, with commas between.
	Options string
}

// The most volumes of a machine, and bytes of their targets and options. The kernel passes at most
// 32 words on to vm-init, and its command line has 2048 bytes.
const (
	MaxVolumes     = 16
	MaxVolumeWords = 640
)

// shares reports whether directories of the host are shared with the guest, which only QEMU can.
func (o *Options) shares() bool {
	for _, v := range o.Volumes {
		if v.Dir != "" && !v.Copy {
			return true
		}
	}
	return false
}

// shareModules are the modules of Debian's kernel for all machines that a guest with shared
// directories needs. Its kernel for clouds has neither 9p nor virtiofs.
var shareModules = []string{"crc32c_generic", "ext4", "9p", "9pnet_virtio", "virtiofs"}

// volumes adds the drives of the volumes, and the words by which vm-init mounts them.
func (o *Options) volumes(ctx context.Context, dir *workDir, config *Config, ui UI) error {
	spec := &config.Spec
	var words []string
	for i, v := range o.Volumes {
		tag := "v" + strconv.Itoa(i)
		options := []string{"required"}
		if v.ReadOnly {
			options = append(options, "ro")
		}
		if v.Options != "" {
			options = append(options, v.Options)
		}
		source, kind := "tmpfs", "tmpfs"
		drive := vmm.Drive{Path: v.Disk, ReadOnly: v.ReadOnly, Durable: true}
		switch {
		case v.Dir != "" && !v.Copy && config.Choice.Backend != vmm.Firecracker:
			share := vmm.Share{Path: v.Dir, Tag: tag, ReadOnly: v.ReadOnly}
			source, kind = tag, "9p"
			// QEMU itself refuses writes by 9p. A guest could mount a virtiofs again, writable.
			if FindVirtiofsd() != "" && !v.ReadOnly {
				kind, share.Socket = "virtiofs", dir.file(tag)
			}
			spec.Shares = append(spec.Shares, share)
		case v.Dir != "":
			if !v.Copy {
				ui.Event(Event{Stage: Notice, Detail: "Firecracker shares no directory: the guest gets a copy of " + v.Dir})
			}
			drive = vmm.Drive{Path: dir.file(tag + ".ext4"), ReadOnly: v.ReadOnly}
			if err := image.CopyDir(ctx, drive.Path, v.Dir); err != nil {
				return err
			}
			fallthrough
		case v.Disk != "":
			source, kind = "/dev/vd"+string(rune('a'+len(spec.Drives))), "ext4"
			spec.Drives = append(spec.Drives, drive)
			if !v.ReadOnly {
				options = append(options, "grow")
			}
		}
		words = append(words, "--mount="+strings.Join([]string{source, v.Target, kind, strings.Join(options, ",")}, ":"))
	}
	spec.InitArgs = append(words, spec.InitArgs...)
	return nil
}

// FindVirtiofsd returns the path of virtiofsd, or "" if it is missing. Without root it is "" too,
// because a virtiofsd needs root to confine itself to its directory.
func FindVirtiofsd() string {
	if os.Geteuid() != 0 {
		return ""
	}
	for _, path := range []string{"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"} {
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// serveFiles starts a virtiofsd for each share that has one. Each ends when QEMU has left it.
func (m *Machine) serveFiles() error {
	for _, share := range m.config.Spec.Shares {
		if share.Socket == "" {
			continue
		}
		m.files = append(m.files, share.Socket)
		p, err := serveShare(FindVirtiofsd(), share, m.stderr)
		if err != nil {
			return fmt.Errorf("share %s: %w", share.Path, err)
		}
		m.fileServers = append(m.fileServers, p)
	}
	return nil
}

// serverDelay is how long a monitor may take to end after its virtiofsd, which ends when the
// monitor closes the connection.
const serverDelay = 2 * time.Second

// needFileServer kills the machine if its virtiofsd ends first. The guest's requests to it would
// wait for ever, and so would a program that makes one, whatever signal it gets.
func (m *Machine) needFileServer(p *process) {
	<-p.done
	select {
	case <-m.process.done:
		return
	case <-m.kill:
		return
	case <-time.After(serverDelay):
	}
	m.killed.Do(func() {
		if m.config.Notice != nil {
			m.config.Notice("virtiofsd has ended (" + p.cmd.ProcessState.String() + "); killed the machine")
		}
		close(m.kill)
	})
}

// serveShare starts a virtiofsd. It inherits its socket, so that QEMU can connect at once.
func serveShare(program string, share vmm.Share, log io.Writer) (*process, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: share.Socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	cmd := exec.Command(program, "--fd=3", "--shared-dir="+share.Path)
	if strings.Contains(program, "/qemu/") { // the older one
		cmd = exec.Command(program, "--fd=3", "-o", "source="+share.Path)
	}
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stdout, cmd.Stderr = log, log
	return start(cmd, "")
}

// checkVolumes refuses volumes whose source is missing.
func (o *Options) checkVolumes() error {
	for i := range o.Volumes {
		v := &o.Volumes[i]
		if v.Dir == "" {
			continue
		}
		info, err := os.Stat(v.Dir)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s: not a directory", v.Dir)
		}
		if err == nil {
			v.Dir, err = filepath.Abs(v.Dir)
		}
		if err != nil {
			return fmt.Errorf("volume %s: %w", v.Target, err)
		}
	}
	return nil
}
