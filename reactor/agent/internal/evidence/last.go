package evidence

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// The file of last words begins with lines of NAME=VALUE, which the next boot tells as facts.
// After an empty line the warnings of the agent's log follow, and after another one those of the
// kernel's log. In all it has less than 64 KiB.
const (
	// MaxWords is the most that the agent says in the file, in bytes.
	MaxWords = 16 << 10
	// maxKernelWords is the most of the kernel's log, in bytes: the newest lines.
	maxKernelWords = 32 << 10
	// maxKernelRecords limits how many records are read for that.
	maxKernelRecords = 1 << 16
	// maxLastFacts and maxLastFact limit the facts of the next boot.
	maxLastFacts = 16
	maxLastFact  = 200
	// kernelWarning is the highest level of the kernel's log that is kept.
	kernelWarning = 4
)

// LastJob writes the file of last words to the path of its argument. Descriptor 0 has what the
// agent says. The job syncs nothing, because the machine's disks are synced next.
var LastJob = launch.Job{Name: "last", Do: lastJob}

func lastJob(path string) error {
	words := make([]byte, 0, MaxWords+maxKernelWords+1)
	for len(words) < MaxWords {
		n, err := sys.Read(0, words[len(words):MaxWords])
		if err != nil || n == 0 {
			break
		}
		words = words[:len(words)+n]
	}
	words = append(words, '\n')
	if fd, err := sys.OpenKernelLog(false); err == nil {
		words = appendWarnings(words, func(buf []byte) (sys.KernelRecord, error) {
			return sys.ReadKernelRecord(fd, buf)
		})
	}
	err := writeLast(path, words)
	return sys.ErrnoOf(err)
}

// appendWarnings appends the newest warnings of the kernel, as dmesg prints them.
func appendWarnings(dst []byte, read func(buf []byte) (sys.KernelRecord, error)) []byte {
	begin := len(dst)
	buf := make([]byte, sys.MaxKernelRecord)
	for range maxKernelRecords {
		r, err := read(buf)
		if err != nil {
			break
		}
		if r.Level() > kernelWarning {
			continue
		}
		micros := "00000" + sys.Decimal(int64(r.TimeUS%1e6))
		dst = append(dst, "["+sys.Decimal(int64(r.TimeUS/1e6))+"."+micros[len(micros)-6:]+"] "...)
		dst = append(append(dst, r.Text...), '\n')
		over := len(dst) - begin - maxKernelWords
		if over <= 0 {
			continue
		}
		for dst[begin+over-1] != '\n' { // the last byte is one
			over++
		}
		dst = append(dst[:begin], dst[begin+over:]...)
	}
	return dst
}

// writeLast replaces the file. The one before it gets ".1" at the end of its name.
func writeLast(path string, words []byte) error {
	dir, err := openLastDir(path, true)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	name := path[sys.LastSlash(path)+1:]
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	unix.Unlinkat(dir, name+".new", 0)
	fd, err := unix.Openat(dir, name+".new", flags, 0o600)
	if err != nil {
		return err
	}
	n, err := sys.Write(fd, words)
	unix.Close(fd)
	if err == nil && n < len(words) {
		err = unix.ENOSPC
	}
	if err == nil {
		unix.Renameat(dir, name, dir, name+".1") // it may be missing
		err = unix.Renameat(dir, name+".new", dir, name)
	}
	if err != nil {
		unix.Unlinkat(dir, name+".new", 0)
	}
	return err
}

// openLastDir opens the directory of the file. With create it makes missing directories. The
// directory must be this user's alone, because another user could have the file written elsewhere.
func openLastDir(path string, create bool) (fd int, err error) {
	for i := 1; create && i < len(path); i++ {
		if path[i] == '/' {
			unix.Mkdir(path[:i], 0o755)
		}
	}
	path = path[:max(sys.LastSlash(path), 1)]
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (int(st.Uid) != unix.Geteuid() || st.Mode&0o022 != 0) {
		err = unix.EPERM
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// TakeLast returns what the file says about the end of the last boot, as facts. It renames the
// file, so that a machine that ends without last words does not seem to have said them again.
func TakeLast(path string) (facts [][2]string) {
	dir, err := openLastDir(path, false)
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	name := path[sys.LastSlash(path)+1:]
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0)
	if err == unix.ENOENT && unix.Faccessat(dir, name+".1", unix.F_OK, 0) == nil {
		return [][2]string{{"last.cause", "unknown, the machine ended without last words"}}
	}
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	buf := make([]byte, sys.KernelFile)
	n := 0
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		n, _ = sys.Read(fd, buf)
	}
	unix.Close(fd)
	unix.Renameat(dir, name, dir, name+".1")
	for text := string(buf[:max(n, 0)]); text != "" && len(facts) < maxLastFacts; {
		var line string
		line, text, _ = sys.Cut(text, '\n')
		fact, value, ok := sys.Cut(line, '=')
		if !ok || fact == "" {
			break
		}
		facts = append(facts, [2]string{"last." + sys.Clip(fact, maxLastFact), sys.Clip(value, maxLastFact)})
	}
	if len(facts) > 0 {
		facts = append(facts, [2]string{"last.file", path + ".1"})
	}
	return facts
}
