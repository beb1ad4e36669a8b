package keeper

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Store is the directory of a user's machines.
type Store struct{ dir, disks string }

// Default returns the user's own store. It is wick in $XDG_RUNTIME_DIR, in /run for root, or a
// directory of the user's in the one for temporary files. Disks are in wick/machines in
// $XDG_STATE_HOME, or in ~/.local/state.
func Default() (Store, error) {
	s := Store{}
	switch runtime := os.Getenv("XDG_RUNTIME_DIR"); {
	case filepath.IsAbs(runtime):
		s.dir = filepath.Join(runtime, "wick")
	case os.Geteuid() == 0:
		s.dir = "/run/wick"
	default:
		s.dir = filepath.Join(os.TempDir(), fmt.Sprintf("wick-run-%d", os.Geteuid()))
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return s, fmt.Errorf("find the directory for disks: %w", err)
		}
		state = filepath.Join(home, ".local/state")
	}
	s.disks = filepath.Join(state, "wick/machines")
	return s, s.check()
}

// check makes the store, and refuses a directory that another user made or can write to.
func (s Store) check() error {
	err := os.MkdirAll(filepath.Join(s.dir, "names"), 0o700)
	if err != nil {
		return fmt.Errorf("make the directory of machines: %w", err)
	}
	info, err := os.Lstat(s.dir)
	if err != nil {
		return fmt.Errorf("find the directory of machines: %w", err)
	}
	uid := info.Sys().(*syscall.Stat_t).Uid
	if !info.IsDir() || uid != uint32(os.Geteuid()) || info.Mode()&0o022 != 0 {
		return fmt.Errorf("the directory of machines %s: other users can write to it; set XDG_RUNTIME_DIR", s.dir)
	}
	return nil
}

// DiskDir returns the directory of a machine's disk. It exists from [Store.Create] until
// [Machine.Remove].
func (s Store) DiskDir(id string) string { return filepath.Join(s.disks, id) }

// diskSuffix ends the file name of a disk with a name.
const diskSuffix = ".ext4"

// NameDisk returns the path of the disk with that name, which belongs to no machine.
func (s Store) NameDisk(name string) string {
	return filepath.Join(filepath.Dir(s.disks), "disks", name+diskSuffix)
}

// Machine is a machine of a store. A method may find that it was removed meanwhile, which wraps
// [ErrUnknown].
type Machine struct {
	store Store
	// ID is 12 hexadecimal digits.
	ID   string
	dir  string
	lock *os.File // held, or nil
}

// ErrUnknown is wrapped by the error for a machine that the store does not have.
var ErrUnknown = errors.New("no such machine")

// ErrBusy is wrapped by the error for a machine that runs.
var ErrBusy = errors.New("the machine runs")

// A TakenError reports that another machine has a name.
type TakenError struct{ Name, ID string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("the name %q is taken by the machine %s; remove that one (wick rm %[1]s), or rename it", e.Name, e.ID)
}

// nameForm is the form of a name, which is docker's.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)

// CheckName returns an error unless name can be the name of a machine or a disk.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name %q: want letters, digits, and _ . - after the first, at most 63", name)
	}
	return nil
}

// Create makes a machine and holds it. The name is made up if it is "". The caller must call
// [Machine.Release] or [Machine.Remove]. s gets its id, name and status.
func (s Store) Create(state *State) (*Machine, error) {
	if state.Name != "" {
		if err := CheckName(state.Name); err != nil {
			return nil, err
		}
	}
	s.sweep()
	id := make([]byte, 6)
	rand.Read(id)
	m := &Machine{store: s, ID: hex.EncodeToString(id)}
	m.dir = filepath.Join(s.dir, m.ID)
	if state.Name == "" {
		state.Name = "m-" + m.ID[:6]
	}
	state.ID, state.Status, state.Created = m.ID, Starting, time.Now()
	err := os.Mkdir(m.dir, 0o700)
	if err == nil {
		err = m.hold()
	}
	if err == nil {
		err = os.MkdirAll(s.DiskDir(m.ID), 0o700)
	}
	if err == nil {
		err = state.write(m.dir)
	}
	if err == nil {
		err = m.take(state.Name)
	}
	if err != nil {
		m.Remove()
		return nil, fmt.Errorf("make a machine: %w", err)
	}
	return m, nil
}

// take gives the machine a name that no other has.
func (m *Machine) take(name string) error {
	link := m.store.link(name)
	for range 2 {
		err := os.Symlink(filepath.Join("..", m.ID), link)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		other, err := os.Readlink(link)
		if err != nil {
			continue // it was just removed
		}
		if _, err := os.Stat(link); err == nil {
			return &TakenError{name, filepath.Base(other)}
		}
		os.Remove(link) // of a machine that is gone
	}
	return &TakenError{Name: name}
}

func (s Store) link(name string) string { return filepath.Join(s.dir, "names", name) }

// sweep removes disks of machines that are gone, as after a reboot.
func (s Store) sweep() {
	entries, _ := os.ReadDir(s.disks)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue // its machine may just be made
		}
		if _, err := os.Lstat(filepath.Join(s.dir, e.Name())); errors.Is(err, fs.ErrNotExist) {
			os.RemoveAll(filepath.Join(s.disks, e.Name()))
		}
	}
}

// hold takes the machine's lock. The error wraps ErrBusy if another process has it.
func (m *Machine) hold() error {
	f, err := os.OpenFile(filepath.Join(m.dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return unknown(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		return err
	}
	m.lock = f
	return nil
}

// unknown makes the error of a directory that is missing one of ErrUnknown.
func unknown(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrUnknown
	}
	return err
}

// Hold holds a machine that does not run. The error wraps [ErrBusy] if it does.
func (m *Machine) Hold() error {
	if err := m.hold(); err != nil {
		return fmt.Errorf("machine %s: %w", m.ID, err)
	}
	return nil
}

// Lock returns the file whose descriptor holds the machine, for a supervisor to inherit.
func (m *Machine) Lock() *os.File { return m.lock }

// Inherit returns the machine that a parent holds by the lock f.
func (s Store) Inherit(id string, f *os.File) *Machine {
	return &Machine{store: s, ID: id, dir: filepath.Join(s.dir, id), lock: f}
}

// Release lets go of a machine that this process holds. It stays as it is.
func (m *Machine) Release() {
	if m.lock != nil {
		m.lock.Close()
		m.lock = nil
	}
}

// Remove removes a machine that this process holds, with its disk.
func (m *Machine) Remove() error {
	if s, err := read(m.dir); err == nil {
		m.drop(s.Name)
	}
	err := errors.Join(os.RemoveAll(m.store.DiskDir(m.ID)), os.RemoveAll(m.dir))
	m.Release()
	if err != nil {
		return fmt.Errorf("remove machine %s: %w", m.ID, err)
	}
	return nil
}

// drop frees the name, if it is the machine's.
func (m *Machine) drop(name string) {
	if to, err := os.Readlink(m.store.link(name)); err == nil && filepath.Base(to) == m.ID {
		os.Remove(m.store.link(name))
	}
}

// Path returns the path of a file of the machine's.
func (m *Machine) Path(name string) string { return filepath.Join(m.dir, name) }

// DiskPath returns the path of the machine's own disk.
func (m *Machine) DiskPath() string { return filepath.Join(m.store.DiskDir(m.ID), "disk.ext4") }

// Save replaces the state. Only the holder may call it. The name stays as it is in the store.
func (m *Machine) Save(s *State) error {
	if old, err := read(m.dir); err == nil {
		s.Name = old.Name
	}
	return s.write(m.dir)
}

// State returns the state, and Lost for a machine without the supervisor that it should have.
func (m *Machine) State() (*State, error) {
	s, err := read(m.dir)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", m.ID, unknown(err))
	}
	if m.lock == nil && s.Status.Live() && !m.held() {
		// The supervisor may have ended in order since.
		if s, err = read(m.dir); err != nil {
			return nil, fmt.Errorf("machine %s: %w", m.ID, unknown(err))
		}
		if s.Status.Live() {
			s.Status, s.PID, s.Address, s.ExitCode = Lost, 0, "", 137
			s.Error = "the supervisor was killed, and the machine with it"
		}
	}
	return s, nil
}

// held reports whether a process holds the machine.
func (m *Machine) held() bool {
	f, err := os.Open(filepath.Join(m.dir, "lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// waitPause is how often Wait looks, because a context cannot end a wait in flock.
const waitPause = 50 * time.Millisecond

// Wait waits until the machine has no supervisor, and returns its last state.
func (m *Machine) Wait(ctx context.Context) (*State, error) {
	last, err := m.Call(ctx, Request{Op: OpWait})
	if ctx.Err() != nil || errors.Is(err, ErrUnknown) {
		return nil, err
	}
	for m.held() {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(waitPause):
		}
	}
	if s, err := m.State(); err == nil || last == nil {
		return s, err
	}
	return last, nil // it is removed
}

// Rename gives the machine another name.
func (m *Machine) Rename(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	s, err := read(m.dir)
	if err != nil {
		return fmt.Errorf("rename machine %s: %w", m.ID, unknown(err))
	}
	old := s.Name
	if old == name {
		return nil
	}
	if err := m.take(name); err != nil {
		return fmt.Errorf("rename machine %s: %w", m.ID, err)
	}
	s.Name = name
	if err := s.write(m.dir); err != nil {
		os.Remove(m.store.link(name))
		return err
	}
	m.drop(old)
	return nil
}

// List returns all machines, the newest first.
func (s Store) List() ([]*State, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list machines: %w", err)
	}
	var list []*State
	for _, e := range entries {
		if e.Name() == "names" || !e.IsDir() {
			continue
		}
		if state, err := s.at(e.Name()).State(); err == nil {
			list = append(list, state)
		}
	}
	slices.SortFunc(list, func(a, b *State) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

func (s Store) at(id string) *Machine {
	return &Machine{store: s, ID: id, dir: filepath.Join(s.dir, id)}
}

// Find returns the machine with that name, or whose id begins with it.
func (s Store) Find(name string) (*Machine, error) {
	if nameForm.MatchString(name) {
		if to, err := os.Readlink(s.link(name)); err == nil {
			m := s.at(filepath.Base(to))
			if _, err := os.Stat(m.dir); err == nil {
				return m, nil
			}
		}
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var found *Machine
	for _, state := range list {
		if name == "" || !strings.HasPrefix(state.ID, name) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("more than one machine has an id that begins with %s", name)
		}
		found = s.at(state.ID)
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s; wick list -a shows those that there are", ErrUnknown, name)
	}
	return found, nil
}
