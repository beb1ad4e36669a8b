package machine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// The files of a saved machine. memoryFile has the state of QEMU's devices too, and stateFile that
// of Firecracker's.
const (
	savedFile  = "snapshot.json"
	memoryFile = "memory"
	stateFile  = "state"
)

// savedFormat is the format of savedFile that this package writes, and the only one that it reads.
const savedFormat = 1

// Saved describes a saved machine.
type Saved struct {
	Format int `json:"format"`
	// Backend and Version are those of the monitor. Only the same can go on.
	Backend string `json:"backend"`
	Version string `json:"version"`
	KVM     bool   `json:"kvm"`
	TSCkHz  int    `json:"tsc_khz,omitempty"`
	// Spec is the machine. Its paths are names of files beside this one.
	Spec vmm.Spec `json:"spec"`
	Use  Use      `json:"use"`
}

// Use is what a machine was used for when it was saved.
type Use struct {
	Image   string   `json:"image,omitempty"`
	Command []string `json:"command,omitempty"`
	// Process is the id of its command in the guest, or "".
	Process string `json:"process,omitempty"`
}

// ReadSaved reads the description of the machine that is saved in dir.
func ReadSaved(dir string) (*Saved, error) {
	text, err := os.ReadFile(filepath.Join(dir, savedFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Stat(dir); there == nil {
			return nil, fmt.Errorf("snapshot %s: no %s in it, so wick snapshot did not make it", dir, savedFile)
		}
	}
	s := &Saved{}
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", dir, err)
	}
	if s.Format != savedFormat {
		return nil, fmt.Errorf("snapshot %s: its format is %d, and this wick reads %d", dir, s.Format, savedFormat)
	}
	for _, name := range s.files() {
		if filepath.Base(name) != name {
			return nil, fmt.Errorf("snapshot %s: file %q: want a name in the directory", dir, name)
		}
	}
	return s, nil
}

// files returns the files that the machine is made of, beside its state.
func (s *Saved) files() []string {
	var names []string
	for _, path := range s.paths() {
		names = append(names, *path)
	}
	return names
}

// paths returns where the specification has paths of files.
func (s *Saved) paths() []*string {
	paths := []*string{&s.Spec.Kernel}
	if s.Spec.Initramfs != "" {
		paths = append(paths, &s.Spec.Initramfs)
	}
	for i := range s.Spec.Drives {
		paths = append(paths, &s.Spec.Drives[i].Path)
	}
	return paths
}

// Save saves the machine in the new directory path, with its memory and copies of its disks. It
// stops the processors meanwhile, unless paused says that they are stopped, and then they stay so.
// The directory appears when everything is in it. After an error it is missing, and the
// machine runs on.
func (m *Machine) Save(ctx context.Context, path string, use Use, paused bool) error {
	if err := m.save(ctx, path, use, paused); err != nil {
		return fmt.Errorf("save the machine: %w", err)
	}
	return nil
}

// Saved reports whether the machine was saved. Firecracker then ends the connections to the guest.
func (m *Machine) Saved() bool { return m.saved.Load() }

// CanSave returns the reason why the machine cannot be saved, or nil.
func (m *Machine) CanSave() error {
	if len(m.config.Spec.Shares) > 0 {
		return fmt.Errorf("the guest shares the host's directory %s, whose state QEMU cannot save; "+
			"give the guest a copy (-v HOST:GUEST:copy) or a disk (-v NAME:GUEST)", m.config.Spec.Shares[0].Path)
	}
	if m.device != nil {
		return errors.New("QEMU cannot save the vsock device of the backend qemu; run the machine with " +
			"--vmm firecracker, or with --vmm qemu-vhost, which needs /dev/vhost-vsock (as root: modprobe vhost_vsock)")
	}
	return nil
}

func (m *Machine) save(ctx context.Context, path string, use Use, paused bool) error {
	if err := m.CanSave(); err != nil {
		return err
	}
	m.saved.Store(true)
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "make", Path: path, Err: fs.ErrExist}
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return err
	}
	dir, err := makeDir(filepath.Dir(path), false)
	if err != nil {
		return err
	}
	defer dir.remove()
	s := &Saved{
		Format: savedFormat, Backend: m.Backend(), KVM: m.config.Choice.KVM, TSCkHz: m.config.Choice.TSCkHz,
		Spec: m.config.Spec, Use: use,
	}
	s.Spec.Drives = append([]vmm.Drive(nil), s.Spec.Drives...)
	if s.Version, err = m.version(ctx); err != nil {
		return err
	}
	// All that does not change is copied while the machine still runs.
	writable := map[string]string{} // the disks that change, by their names in the directory
	kept := &keptFiles{dir: dir, names: map[string]string{}}
	for i, file := range s.paths() {
		name, from := fmt.Sprintf("disk%d", i), *file
		switch file {
		case &s.Spec.Kernel:
			name = "kernel"
		case &s.Spec.Initramfs:
			name = "initramfs"
		}
		*file = name
		if changes(&s.Spec, file) {
			writable[name] = from
		} else if *file, err = kept.keep(ctx, name, from); err != nil {
			return err
		}
	}
	if err := m.saveStopped(ctx, dir, writable, paused); err != nil {
		return err
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = writeNew(dir.file(savedFile), append(text, '\n'))
	}
	if err == nil {
		err = dir.publish(path)
	}
	return err
}

// changes reports whether the guest writes to the file.
func changes(spec *vmm.Spec, file *string) bool {
	for i := range spec.Drives {
		if d := &spec.Drives[i]; &d.Path == file {
			return !d.ReadOnly
		}
	}
	return false
}

// keptFiles are the files of a saved machine that do not change. A file with several uses is kept
// once.
type keptFiles struct {
	dir   *workDir
	names map[string]string // by path
}

func (k *keptFiles) keep(ctx context.Context, name, from string) (string, error) {
	if kept, ok := k.names[from]; ok {
		return kept, nil
	}
	k.names[from] = name
	return name, image.CopyFile(ctx, k.dir.file(name), from)
}

// saveStopped saves what changes while the machine runs.
func (m *Machine) saveStopped(ctx context.Context, dir *workDir, disks map[string]string, paused bool) (err error) {
	if !paused {
		if err := m.Pause(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.Unpause(context.WithoutCancel(ctx))) }()
	}
	if err := m.saveState(ctx, dir.path); err != nil {
		return err
	}
	for name, from := range disks {
		if err := image.CopyFile(ctx, dir.file(name), from); err != nil {
			return err
		}
	}
	return nil
}

// version returns the version of the monitor.
func (m *Machine) version(ctx context.Context) (string, error) {
	if m.api != nil {
		return m.api.Version(ctx)
	}
	return m.qmp.Version(ctx)
}

// saveState has the monitor write the state of the stopped machine into dir.
func (m *Machine) saveState(ctx context.Context, dir string) error {
	memory := filepath.Join(dir, memoryFile)
	if m.api != nil {
		return m.api.Save(ctx, filepath.Join(dir, stateFile), memory)
	}
	f, err := os.OpenFile(memory, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(m.qmp.Save(ctx, f), f.Close())
}

// publish gives the directory its name, which must be free, and ends our hold on it.
func (d *workDir) publish(path string) error {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := syncFile(d.file(file.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(d.file(lockName)); err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, d.path, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // the file system cannot; it was not there before
		err = os.Rename(d.path, path)
	}
	if err != nil {
		return &fs.PathError{Op: "make", Path: path, Err: err}
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// load makes the configuration of a machine that is saved in a directory.
func (o *Options) load(ctx context.Context, work *workDir) (config Config, err error) {
	dir, err := filepath.Abs(o.From)
	if err != nil {
		return config, err
	}
	s, err := ReadSaved(dir)
	if err != nil {
		return config, err
	}
	fail := func(format string, args ...any) (Config, error) {
		return config, fmt.Errorf("snapshot %s: "+format, append([]any{o.From}, args...)...)
	}
	config = Config{
		Spec: s.Spec, Console: o.Console, Logger: o.Logger, NetNS: o.NetNS,
		Saved: &SavedState{Dir: dir, Version: s.Version},
	}
	host := vmm.Look(s.Spec.Arch)
	// Its processors go on only in the way in which they ran, which needs no trial.
	config.Choice, err = host.Choose(s.Backend, func(vmm.Choice) (vmm.Answer, error) {
		return vmm.Answer{KVM: s.KVM, Reason: "the snapshot is of an emulated machine"}, nil
	})
	if err != nil {
		return fail("%w", err)
	}
	if s.KVM && !config.Choice.KVM {
		return fail("it was taken with KVM, and this host has none: %s", config.Choice.NoKVM)
	}
	config.Choice.TSCkHz = s.TSCkHz // it is in the kernel's command line
	loaded := *s
	loaded.Spec.Drives = append([]vmm.Drive(nil), s.Spec.Drives...)
	for _, file := range loaded.paths() {
		from := filepath.Join(dir, *file)
		if changes(&loaded.Spec, file) {
			to := work.file(*file)
			if err := image.CopyFile(ctx, to, from); err != nil {
				return fail("%w", err)
			}
			from = to
		}
		*file = from
	}
	config.Spec = loaded.Spec
	return config, nil
}

// SavedState is the state of a saved machine.
type SavedState struct {
	// Dir has the files, and Version is that of the monitor that wrote them.
	Dir, Version string
}

// resume has the monitor go on with the saved state.
func (m *Machine) resume(ctx context.Context) error {
	saved := m.config.Saved
	version, err := m.version(ctx)
	if err != nil {
		return err
	}
	if version != saved.Version {
		return fmt.Errorf("the snapshot %s is of version %s of the monitor, and this is %s; take it again here",
			saved.Dir, saved.Version, version)
	}
	memory := filepath.Join(saved.Dir, memoryFile)
	if m.api != nil {
		return m.api.Load(ctx, filepath.Join(saved.Dir, stateFile), memory)
	}
	f, err := os.Open(memory)
	if err != nil {
		return err
	}
	defer f.Close()
	return m.qmp.Load(ctx, f)
}

// identify makes the machine another than the one that was saved, and the copies that were made of
// it before.
func (o *Options) identify(ctx context.Context, m *Machine, c *client.Client, ui UI) error {
	id := client.Identity{
		Time: time.Now(), Entropy: make([]byte, restoreEntropy), MachineID: "new", Hostname: o.Hostname,
		DropConnections: m.config.Spec.Net != nil,
	}
	rand.Read(id.Entropy)
	r, err := c.SetIdentity(ctx, id)
	if err != nil {
		return fmt.Errorf("give the machine an identity: %w", err)
	}
	for _, p := range r.Parts {
		if p.Err != nil {
			ui.Event(Event{Stage: Notice, Detail: p.Err.Error()})
		}
	}
	return nil
}

// restoreEntropy is the entropy that a copy of a machine gets, in bytes. The state of the kernel's
// generator has this size.
const restoreEntropy = 64
