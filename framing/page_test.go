package framing

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"wick/framing/wiretest"
)

// These tests compare extension.md with the codecs: its table of messages with the types, and its
// byte tables with the golden files. A byte table is converted to the notation of the table of
// messages, [u32 pid][u8 n][name]. Payloads are then parsed by it.

// pageRow is a row of the page's table of messages.
type pageRow struct {
	typ           Type
	way, name     string
	notation, end string
}

var messageRow = regexp.MustCompile(`^\| (0x[0-9A-F]{2}) \| (\S+) \| (\w+) \| (.*?) \| ?(.*?) ?\|$`)

// readPage reads the page and the rows of its table of messages.
func readPage(t *testing.T) (page string, rows []pageRow) {
	t.Helper()
	b, err := os.ReadFile("extension.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if m := messageRow.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			typ, _ := strconv.ParseUint(m[1], 0, 8)
			rows = append(rows, pageRow{Type(typ), m[2], m[3], m[4], m[5]})
		}
	}
	return string(b), rows
}

func TestPageMessages(t *testing.T) {
	t.Parallel()
	_, rows := readPage(t)
	seen := map[Type]bool{}
	names := map[string]bool{}
	for _, row := range rows {
		if _, ok := extensionTypes[row.typ]; !ok || seen[row.typ] {
			t.Errorf("0x%02X is no type of the extension, or twice in the table", uint8(row.typ))
		}
		seen[row.typ] = true
		names[row.name] = true
		if row.typ.String() != row.name {
			t.Errorf("0x%02X is %v, in the table %s", uint8(row.typ), row.typ, row.name)
		}
		if way := map[string]bool{"H→G": true, "both": true, "G→H": false}; row.typ.FromHost() != way[row.way] {
			t.Errorf("%v: way %s", row.typ, row.way)
		}
	}
	for typ := Type(0x20); typ < 0x60; typ++ {
		if named := !strings.HasPrefix(typ.String(), "0x"); named != seen[typ] {
			t.Errorf("%v is in the table: %v", typ, seen[typ])
		}
	}
	for _, row := range rows {
		for word := range strings.FieldsFuncSeq(strings.ReplaceAll(row.end, "or ", ","), func(r rune) bool { return strings.ContainsRune(", …", r) }) {
			if !names[word] {
				t.Errorf("%v is answered by %q, which there is not", row.typ, word)
			}
		}
	}
}

// byteTable converts the table after a heading in bold to notation.
func byteTable(t *testing.T, page, heading string) (notation string) {
	t.Helper()
	_, after, ok := strings.Cut(page, "**"+heading+"**")
	_, after, found := strings.Cut(after, "|---|---|---|\n")
	if !ok || !found {
		t.Fatalf("there is no table of %s", heading)
	}
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(line, "|")
		size, field := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])
		switch {
		case strings.Contains(field, "×"):
			_, group, _ := strings.Cut(field, "×")
			notation += " ×" + strings.ReplaceAll(group, "`", "") + " "
		case size == "2 + n":
			notation += "[u16 n][" + field + "]"
		default:
			for n := range strings.SplitSeq(size, ", ") {
				bytes, err := strconv.Atoi(n)
				if err != nil {
					t.Fatalf("%s: %q", heading, line)
				}
				notation += fmt.Sprintf("[u%d %s]", 8*bytes, field)
			}
		}
	}
	return notation
}

// record returns the indented line of the page that begins with prefix.
func record(t *testing.T, page, prefix string) string {
	t.Helper()
	_, after, ok := strings.Cut(page, "\n    "+prefix)
	line, _, _ := strings.Cut(after, "\n")
	if !ok {
		t.Fatalf("there is no record %s", prefix)
	}
	return prefix + line
}

var field = regexp.MustCompile(`\[[ui](\d+) ([^]]*)\]|\[[^]]*\]`)

// walk parses what a notation describes at the beginning of a payload: numbers, and texts as long
// as the n before them says, or else to the end. The part after a ×, up to the next blank between
// brackets, is repeated as the number before it says.
func walk(payload []byte, notation string) (rest []byte, err error) {
	r := wiretest.Reader{Rest: payload}
	for part := range strings.SplitSeq(strings.ReplaceAll(notation, "] [", "]\n["), "\n") {
		fields, group, _ := strings.Cut(part, "×")
		var last uint64
		counted := false
		for _, m := range field.FindAllStringSubmatch(fields, -1) {
			switch {
			case m[1] != "":
				bits, _ := strconv.Atoi(m[1])
				last, counted = r.Number(bits/8), m[2] == "n"
			case counted:
				r.Take(last)
			default:
				r.Take(uint64(len(r.Rest)))
			}
		}
		for ; group != "" && last > 0 && !r.Short; last-- {
			if r.Rest, err = walk(r.Rest, group); err != nil {
				return nil, err
			}
		}
	}
	if r.Short {
		return nil, fmt.Errorf("%q is more than there is", notation)
	}
	return r.Rest, nil
}

func TestPageLayouts(t *testing.T) {
	t.Parallel()
	page, rows := readPage(t)
	layouts := map[Type]string{}
	for _, row := range rows {
		switch layout := strings.ReplaceAll(row.notation, "`", ""); {
		case layout == "empty":
			layouts[row.typ] = ""
		case layout == "below":
			layouts[row.typ] = byteTable(t, page, row.name)
		case layout == "the record below":
			layouts[row.typ] = record(t, page, "[u32 mode]")
		default:
			layouts[row.typ] = strings.Replace(layout, "the record below", record(t, page, "[u64 id]"), 1)
		}
	}
	for _, g := range readGolden(t) {
		layout, ok := layouts[Type(g.frame[min(4, len(g.frame)-1)])]
		if !ok || g.fields["stream_error"] != "" || g.fields["payload_error"] != "" {
			continue
		}
		if g.name == "start_more" {
			_, more, _ := strings.Cut(page, "With more, `")
			more, _, _ = strings.Cut(more, "`")
			layout = strings.TrimSpace(layout) + " " + more
		}
		if g.name == "exited_io" {
			_, io, _ := strings.Cut(page, "With flag bit 3, `")
			io, _, _ = strings.Cut(io, "`")
			layout += io
		}
		if rest, err := walk(g.payload(), layout); err != nil || len(rest) > 0 {
			t.Errorf("%s: %d bytes are left of %s: %v", g.name, len(rest), layout, err)
		}
	}
}
