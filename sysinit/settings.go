//go:build linux

package sysinit

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Source is where an option was set. If several set it, the highest wins.
type Source int

// The sources, the lowest first.
const (
	Unset      Source = iota
	FromImage         // ConfigFile of the image
	FromDrive         // the configuration drive
	FromKernel        // the kernel's command line
	FromHost          // a message of the host
)

// ConfigFile is where an image has its own options.
const ConfigFile = "/etc/vm-init.conf"

// AtStart is why a host cannot set an option that has its effect at the start.
const AtStart = "a host cannot set it: it has an effect at the start alone"

// maxConfig is the longest text of options, in bytes.
const maxConfig = 64 << 10

// Settings sets options from several sources. Each source may set an option that no higher one has
// set, in whatever order the sources are read.
type Settings struct {
	// Live has the options that a host can set after the start, instead of those of the same
	// name in the tables. Refuse returns why a source cannot set an option, or ""; nil
	// refuses none.
	Live   []Option
	Refuse func(from Source, name string) (reason string)

	// early has the options that are used before the image can be read, and late the others.
	early, late []Option
	set         []setting
}

// setting is an option that was set.
type setting struct {
	name  string
	from  Source
	where string
	line  int // in the text that was read last, or 0
}

// NewSettings returns settings of two tables. The image cannot set the options of early, because
// its root is mounted by then.
func NewSettings(early, late []Option) *Settings { return &Settings{early: early, late: late} }

// Words sets options from the kernel's command line, as [Parse] does.
func (s *Settings) Words(args []string) (ignored []string, err error) {
	return Parse(args, s.recording(s.early), s.recording(s.late))
}

// recording returns a table that records what the kernel's command line sets.
func (s *Settings) recording(table []Option) []Option {
	recorded := append([]Option(nil), table...)
	for i := range recorded {
		o := &table[i]
		recorded[i].Set = func(value string) error {
			err := o.Set(value)
			if err == nil {
				s.record(setting{name: o.setting(value), from: FromKernel, where: "the kernel's command line"})
			}
			return err
		}
	}
	return recorded
}

// Text sets options from a text, one a line: "name=value", with or without the "--" of the
// command line, or "name" for a switch. Blanks around the name and the value are
// dropped, unless the value stands in double quotes. An option gets a value with more quotes as it
// is. Empty lines and those that begin with # are skipped, and a NUL ends the text.
//
// name names the text in errors and facts. A wrong line does not keep the others from taking
// effect. Each error is an *OptionError.
func (s *Settings) Text(from Source, name string, text []byte) (errs []error) {
	for i := range s.set {
		s.set[i].line = 0
	}
	for number := 1; len(text) > 0 && text[0] != 0; number++ {
		var rest []byte
		rest, text = cutLine(text)
		line := trim(string(rest))
		if line == "" || line[0] == '#' {
			continue
		}
		by := setting{from: from, where: name + " line " + strconv.Itoa(number), line: number}
		if err := s.line(by, line); err != nil {
			err.Where, err.Line = by.where, number
			err.Early = lookup("--"+err.Option, [][]Option{s.early}) != nil
			errs = append(errs, err)
		}
	}
	return errs
}

// cutLine returns the first line of a text, up to a NUL.
func cutLine(text []byte) (line, rest []byte) {
	end := 0
	for end < len(text) && text[end] != '\n' && text[end] != 0 {
		end++
	}
	line, rest = text[:end], text[end:]
	if len(rest) > 0 && rest[0] == '\n' {
		rest = rest[1:]
	}
	return line, rest
}

// trim returns s without the blanks around it.
func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// line sets the option of a line. by is the setting without its name.
func (s *Settings) line(by setting, line string) *OptionError {
	from := by.from
	if len(line) < 2 || line[:2] != "--" {
		line = "--" + line
	}
	name, value, given := cut(line)
	name, value = trim(name), trim(value)
	option, early := lookup(name, [][]Option{s.late}), false
	if option == nil {
		option, early = lookup(name, [][]Option{s.early}), true
	}
	if from == FromHost {
		if live := lookup(name, [][]Option{s.Live}); live != nil {
			option, early = live, false
		}
	}
	name = name[2:]
	if s.Refuse != nil {
		if reason := s.Refuse(from, name); reason != "" {
			return &OptionError{Option: name, Reason: reason}
		}
	}
	switch {
	case option == nil:
		return &OptionError{Option: name, Reason: "unknown option"}
	case early && from == FromImage:
		return &OptionError{Option: name, Reason: "the image cannot set it: its root is mounted by then"}
	case early && from == FromHost:
		return &OptionError{Option: name, Reason: AtStart}
	case option.prefix():
	case option.Value == "" && !given:
		value = on
	case !given:
		return &OptionError{Option: name, Reason: "needs a value: " + option.Value}
	}
	value, ok := unquote(value)
	if !ok {
		reason := "the quotes are not closed"
		return &OptionError{Option: name, Value: option.shown(value), Reason: reason}
	}
	value = option.join("--"+name, value, given)
	by.name = option.setting(value)
	if s.from(by.name) > from {
		return nil
	}
	if err := option.Set(value); err != nil {
		return &OptionError{Option: name, Value: option.shown(value), Reason: err.Error()}
	}
	s.record(by)
	return nil
}

// unquote returns the value without the quotes around it. It returns a value as it is whose first
// quotes are closed before its end. ok is false if they are not closed.
func unquote(value string) (text string, ok bool) {
	if value == "" || value[0] != '"' {
		return value, true
	}
	for i := 1; i < len(value); i++ {
		if value[i] == '"' {
			if i == len(value)-1 {
				return value[1:i], true
			}
			return value, true
		}
	}
	return value, false
}

// from returns the highest source that has set an option.
func (s *Settings) from(name string) Source {
	for _, set := range s.set {
		if set.name == name {
			return set.from
		}
	}
	return Unset
}

func (s *Settings) record(by setting) {
	for i := range s.set {
		if s.set[i].name == by.name {
			s.set[i] = by
			return
		}
	}
	s.set = append(s.set, by)
}

// Where returns where an option was set, or else where another of the same prefix was first set. It
// returns "" if none was. line is the number of the line if the text that was read last has set it,
// and otherwise 0. name has no "--".
func (s *Settings) Where(name string) (where string, line int) {
	dot := len(name)
	for dot > 0 && name[dot-1] != '.' {
		dot--
	}
	for _, set := range s.set {
		switch full := set.name[2:]; {
		case full == name:
			return set.where, set.line
		case where == "" && dot > 0 && len(full) > dot && full[:dot] == name[:dot]:
			where, line = set.where, set.line
		}
	}
	return where, line
}

// Each calls f with the name of each option that was set, without "--", and with where. One of many
// has its own name after a dot.
func (s *Settings) Each(f func(name, where string)) {
	for _, set := range s.set {
		f(set.name[2:], set.where)
	}
}

// ReadDrive reads the text at the beginning of a block device, up to the first NUL. It waits for
// the device as Up does. The error is a *StepError.
func ReadDrive(device string, wait time.Duration) ([]byte, error) {
	m := newMachine(&Config{Wait: wait}, &Root{upper: -1, disk: -1})
	text, err := m.readDrive(device)
	m.undo()
	if e, ok := err.(*StepError); ok {
		e.Step = "configuration"
	}
	return text, err
}

func (m *machine) readDrive(device string) ([]byte, error) {
	if err := private(m); err != nil {
		return nil, err
	}
	if err := openWorkMount(m); err != nil {
		return nil, err
	}
	at, err := m.find(device)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(at, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fault("open", device, "", err, "")
	}
	defer unix.Close(fd)
	return readText(fd, device)
}

// ReadFile reads a text of options from a file. The error is a *StepError; its errno is ENOENT if
// there is no such file.
func ReadFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fault("open", path, "", err, "")
	}
	defer unix.Close(fd)
	return readText(fd, path)
}

// readText reads up to the first NUL or the end.
func readText(fd int, name string) ([]byte, error) {
	text := make([]byte, maxConfig+1)
	n := 0
	for n < len(text) {
		got, err := unix.Pread(fd, text[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fault("read", name, "", err, "")
		}
		if got == 0 {
			break
		}
		n += got
	}
	for i, b := range text[:n] {
		if b == 0 {
			return text[:i], nil
		}
	}
	if n > maxConfig {
		return nil, fault("read", name, "", nil, "there is no NUL in its first 64 KiB: it holds no text of options")
	}
	return text[:n], nil
}
