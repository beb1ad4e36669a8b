// Command picture types commands at a shell on a terminal of its own, each at a prompt. It prints
// what the terminal shows at the end, with the typed text in green:
//
//	picture -cols 92 <COMMANDS >SHOWN
//
// The commands are lines. It also types at a shell that one of them starts, for example in a guest.
// scripts/picture makes the README's picture in this way.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience limits the whole run. A boot of an emulated machine takes 15 s at worst.
const patience = 3 * time.Minute

func main() {
	cols := flag.Int("cols", 92, "columns of the terminal")
	flag.Parse()
	var lines []string
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		lines = append(lines, in.Text())
	}
	err := in.Err()
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
