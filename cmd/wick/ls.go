package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
	"wick/framing/client"
)

// lsCommand returns wick ls.
func (t *tool) lsCommand() *cobra.Command {
	var long, all bool
	var f output.Flags
	cmd := &cobra.Command{
		Use:   "ls [-l] [-a] [PATH]...",
		Short: "List a directory in the guest",
		Long: `List directories or files in the guest, by default /. With -l a line has mode, links, owner,
size, time and name. With -a names that begin with a dot are shown. No program is needed
in the guest.

The fields of --json are those of wick stat.`,
		Example:           `  wick ls -l /var/log`,
		ValidArgsFunction: t.completePaths,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) == 0 {
				args = []string{"/"}
			}
			var failed error
			for i, name := range args {
				info, err := c.Stat(ctx, name)
				if errors.Is(err, fs.ErrNotExist) {
					info, err = c.Lstat(ctx, name) // a dangling link
				}
				list := []*client.FileInfo{info}
				if err == nil && info.IsDir() {
					list, err = c.ReadDir(ctx, name)
				}
				if err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				if len(args) > 1 && info.IsDir() && !f.JSON && f.Format == "" {
					if i > 0 {
						fmt.Fprintln(t.stdout)
					}
					fmt.Fprintf(t.stdout, "%s:\n", name)
				}
				all := all || !info.IsDir()
				if f.JSON || f.Format != "" {
					if err := t.lsLines(&f, name, list, info.IsDir(), all); err != nil {
						return err
					}
					continue
				}
				if err := t.ls(list, long, all); err != nil {
					return err
				}
			}
			return failed
		}),
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	f.Add(cmd, "")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show mode, links, owner, size and time")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "show names that begin with a dot")
	return cmd
}

// lsLines prints the files of a directory, or one file, for scripts.
func (t *tool) lsLines(f *output.Flags, dir string, list []*client.FileInfo, isDir, all bool) error {
	var lines []fileLine
	for _, i := range list {
		name := dir
		if isDir {
			name = path.Join(dir, i.Name())
		}
		if i.Name()[0] != '.' || all {
			lines = append(lines, newFileLine(name, i))
		}
	}
	return output.List(t.stdout, f, lines, nil, nil)
}

// ls prints a list of files.
func (t *tool) ls(list []*client.FileInfo, long, all bool) error {
	var rows [][]string // right-aligned columns, then the name
	var widths []int
	for _, i := range list {
		name := i.Name()
		if name[0] == '.' && !all {
			continue
		}
		if i.Mode()&fs.ModeSymlink != 0 && long {
			name += " -> " + i.Target()
		}
		if terminal.Is(t.stdout) {
			name = output.Printable(name)
		}
		row := []string{name}
		if long {
			row = append(longColumns(i), name)
		}
		widths = append(widths, make([]int, max(0, len(row)-len(widths)))...)
		for n, text := range row {
			widths[n] = max(widths[n], len(text))
		}
		rows = append(rows, row)
	}
	var out strings.Builder
	for _, row := range rows {
		last := len(row) - 1
		for n, text := range row[:last] {
			fmt.Fprintf(&out, "%*s ", widths[n], text)
		}
		out.WriteString(row[last] + "\n")
	}
	_, err := io.WriteString(t.stdout, out.String())
	return err
}

// longColumns returns the columns before the name.
func longColumns(i *client.FileInfo) []string {
	size := fmt.Sprint(i.Size())
	if i.Mode()&fs.ModeDevice != 0 {
		major, minor := i.Device()
		size = fmt.Sprintf("%d,%d", major, minor)
	}
	return []string{modeString(i.Mode()), fmt.Sprint(i.Links()), fmt.Sprint(i.UID()), fmt.Sprint(i.GID()), size, i.ModTime().Format(time.DateTime)}
}

// modeString returns a mode as ls(1) prints it.
func modeString(mode fs.FileMode) string {
	kinds := []struct {
		bit  fs.FileMode
		char byte
	}{{fs.ModeDir, 'd'}, {fs.ModeSymlink, 'l'}, {fs.ModeCharDevice, 'c'}, {fs.ModeDevice, 'b'}, {fs.ModeNamedPipe, 'p'}, {fs.ModeSocket, 's'}}
	s := []byte("-" + mode.Perm().String()[1:])
	for _, k := range kinds {
		if mode&k.bit != 0 {
			s[0] = k.char
			break
		}
	}
	special := func(bit fs.FileMode, at int, set, alone byte) {
		if mode&bit == 0 {
			return
		}
		if s[at] == 'x' {
			s[at] = set
		} else {
			s[at] = alone
		}
	}
	special(fs.ModeSetuid, 3, 's', 'S')
	special(fs.ModeSetgid, 6, 's', 'S')
	special(fs.ModeSticky, 9, 't', 'T')
	return string(s)
}
