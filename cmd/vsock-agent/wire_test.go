package main_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"wick/framing/wiretest"
)

// fieldSet has the fields of a frame to send. A missing field gets a value that makes the frame
// valid.
type fieldSet []field

func (fs fieldSet) get(name string) ([]byte, bool) {
	for _, f := range fs {
		if f.name == name {
			return f.value, true
		}
	}
	return nil, false
}

func (fs fieldSet) bytes(name string) []byte { b, _ := fs.get(name); return b }

func (fs fieldSet) number(name string, or int) int {
	b, ok := fs.get(name)
	if !ok {
		return or
	}
	n, err := strconv.ParseInt(string(b), 0, 64)
	if err != nil {
		panic(fmt.Sprintf("%s=%s is no number", name, b))
	}
	return int(n)
}

// defaults has the values of fields that a line does not name, unless they are 0 or empty.
var defaults = map[string]string{
	"hello": "version=1", "credit": "stream=1", "resize": "rows=24 columns=80", "signal": "signal=15",
	"start":  "id=1 credit=1048576 errcredit=1048576 rows=24 columns=80 wait=100",
	"attach": "id=1 credit=1048576 errcredit=1048576",
	"look":   "id=1 credit=1048576 errcredit=1048576",
	"read":   "credit=1073741824", "list": "credit=1073741824", "pressure": "stall=1000000 window=2000000",
	"connect": "network=1 credit=1073741824", "accept": "credit=1073741824", "listen": "network=1",
	"kernel_log": "credit=1073741824",
}

// startFlags has the bits of a start. The bare name of a bit sets it.
var startFlags = []string{"shell", "stdin", "terminal", "merge", "only", "more", "confined", "loose"}

// changeOps has the names of a change's ops, from 1 on.
var changeOps = []string{"mkdir", "remove", "rename", "symlink", "link", "chmod", "chown", "utime", "mknod", "setxattr"}

// encodeFrame makes the bytes of a frame. A case may lie: length=, n=, count= and pathlen= replace
// the true value. payload= replaces the whole payload, and tail= adds to its end.
func encodeFrame(name string, fs fieldSet) (frame []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	typ := byte(0)
	m := wiretest.ByName(name)
	switch {
	case name == "frame":
		typ = byte(fs.number("type", 0))
	case m == nil:
		return nil, fmt.Errorf("no frame is called %q", name)
	default:
		typ = m.Type
	}
	var given []wiretest.Given
	flags := 0
	var confinement []byte
	for _, f := range fs {
		add := func(name string, value []byte) { given = append(given, wiretest.Given{Name: name, Value: value}) }
		flag := slices.Index(startFlags, f.name)
		switch {
		case slices.Contains([]string{"seq", "length", "payload", "tail"}, f.name) || name == "frame" && f.name == "type":
		case f.name == "form": // of an exec; only the longer one has flags
			add("flags", []byte("0"))
		case name == "start" && flag >= 0:
			flags |= 1 << flag
		case name == "start" && f.name == "cmd":
			flags |= 1
			add("arg", f.value)
		case name == "start" && f.name == "limit":
			words := strings.Split(strings.ReplaceAll(string(f.value), "infinity", "0xffffffffffffffff"), ":")
			if len(words) != 3 {
				return nil, fmt.Errorf("limit=%q is not resource:soft:hard", f.value)
			}
			for i, part := range []string{"resource", "soft", "hard"} {
				add(part, []byte(words[i]))
			}
		case name == "start" && f.name == "confine":
			entry, err := confineEntry(string(f.value))
			if err != nil {
				return nil, err
			}
			confinement = append(confinement, entry...)
			flags |= 0x60 // more, confined
		case name == "change" && f.name == "op" && slices.Contains(changeOps, string(f.value)):
			add("op", strconv.AppendInt(nil, int64(slices.Index(changeOps, string(f.value))+1), 10))
		default:
			add(f.name, f.value)
		}
	}
	if confinement != nil {
		given = append(given, wiretest.Given{Name: "confine", Value: confinement})
	}
	if flags != 0 {
		given = append(given, wiretest.Given{Name: "flags", Value: strconv.AppendInt(nil, int64(flags), 10)})
	}
	for word := range strings.FieldsSeq(defaults[name]) {
		field, value, _ := strings.Cut(word, "=")
		given = append(given, wiretest.Given{Name: field, Value: []byte(value)})
	}
	layout := typ
	if name == "exec" {
		layout = wiretest.SpawnWatch // for cases that say more than an exec can
	}
	var payload []byte
	if m != nil && strings.Contains(m.Way, "H") {
		payload, err = wiretest.Assemble(layout, given)
	} else if len(given) > 0 {
		err = fmt.Errorf("%s has no field %q", name, given[0].Name)
	}
	if err != nil {
		return nil, err
	}
	if p, ok := fs.get("payload"); ok {
		payload = p
	}
	frame = wiretest.Raw(typ, uint32(fs.number("seq", 0)), append(payload, fs.bytes("tail")...))
	if length, ok := fs.get("length"); ok {
		n, err := strconv.ParseUint(string(length), 0, 32)
		if err != nil {
			return nil, err
		}
		frame[0], frame[1], frame[2], frame[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	}
	return frame, nil
}

// received is a received frame: its name, and its fields as text.
type received struct {
	name   string
	order  []string
	fields map[string][]byte
	size   int // of the whole frame, with the length field
}

func (r *received) put(name string, value []byte) {
	r.order = append(r.order, name)
	r.fields[name] = value
}

func (r *received) String() string {
	var b strings.Builder
	b.WriteString(r.name)
	for _, name := range r.order {
		v := r.fields[name]
		switch name {
		case "stdout", "stderr", "message", "error", "payload", "data", "reason", "name", "target", "entries":
			fmt.Fprintf(&b, " %s=%s", name, quoted(v))
		default:
			fmt.Fprintf(&b, " %s=%s", name, v)
		}
	}
	return b.String()
}

// quoted quotes b, and leaves out the middle if b is long.
func quoted(b []byte) string {
	const keep = 160
	if len(b) <= 3*keep {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%q … %q (%d bytes)", b[:keep], b[len(b)-keep:], len(b))
}

// decodeFrame decodes a frame from the agent. It is strict: the fields must consume every payload
// exactly.
func decodeFrame(f wiretest.Frame) (*received, error) {
	m := wiretest.ByType(f.Type)
	if m == nil || !strings.Contains(m.Way, "G") {
		return nil, fmt.Errorf("the agent sent %s of type 0x%02X, which no guest sends", f, f.Type)
	}
	r := &received{name: m.Name, fields: map[string][]byte{}, size: f.Size()}
	r.put("seq", strconv.AppendUint(nil, uint64(f.Seq), 10))
	fields, err := wiretest.Parse(f.Type, f.Payload)
	if err != nil {
		return nil, fmt.Errorf("the agent sent a %w", err)
	}
	for _, field := range fields {
		switch value := []byte(field.String()); {
		case field.Name == "payload":
			if len(value) > 0 {
				return nil, fmt.Errorf("the agent sent %s, which has no payload", f)
			}
		case m.Type == wiretest.StatResult:
			r.put(field.Name, fileField(field))
		case m.Type == wiretest.ProcessList, m.Type == wiretest.PortList,
			m.Type == wiretest.IdentityResult && field.IsList():
			r.put("count", value)
			var list []string
			for _, entry := range field.List {
				var line []string
				for _, part := range entry {
					line = append(line, part.Name+"="+part.String())
				}
				list = append(list, strings.Join(line, " "))
			}
			r.put("list", []byte(strings.Join(list, "\n")))
		default:
			r.put(field.Name, value)
			for _, entry := range field.List { // facts and figures
				r.put(entry[0].String(), []byte(entry[1].String()))
			}
		}
	}
	return r, nil
}

// fileField returns a field of a stat_result as text.
func fileField(f wiretest.Field) []byte {
	if f.Name == "mode" {
		return fmt.Appendf(nil, "%07o", f.Number)
	}
	return []byte(f.String())
}

// all joins what an operation sends and how it ends: the outputs of a seq up to its done. The
// result has the fields of done, data, the number of frames and the size of the largest content. If
// every output has whole entries, it also has their names and a line for each entry, sorted.
func (r *run) all(c *connection) (*received, error) {
	whole := &received{name: "all", fields: map[string][]byte{}}
	var data []byte
	var names, entries []string
	frames, largest, seq, isList := 0, 0, "", true
	for {
		got, err := r.receive(c)
		if err != nil {
			return nil, err
		}
		if frames++; frames == 1 {
			seq = string(got.fields["seq"])
		}
		if string(got.fields["seq"]) != seq || got.name != "output" && got.name != "done" {
			return nil, fmt.Errorf("got %s between the frames of seq %s", got, seq)
		}
		if got.name == "done" {
			for _, name := range got.order {
				whole.put(name, got.fields[name])
			}
			break
		}
		content := got.fields["data"]
		data = append(data, content...)
		largest = max(largest, len(content))
		for rest := content; isList && len(rest) > 0; {
			var fields wiretest.Fields
			if fields, rest, err = wiretest.ParseFirst(wiretest.StatResult, rest); err != nil {
				isList, names, entries = false, nil, nil
				break
			}
			i := map[string][]byte{}
			for _, f := range fields {
				i[f.Name] = fileField(f)
			}
			names = append(names, string(i["name"]))
			line := fmt.Sprintf("%s %s %s:%s %s %s", i["name"], i["mode"], i["uid"], i["gid"], i["nlink"], i["bytes"])
			if len(i["target"]) > 0 {
				line += " -> " + string(i["target"])
			}
			entries = append(entries, line)
		}
	}
	slices.Sort(names)
	slices.Sort(entries)
	whole.put("frames", strconv.AppendInt(nil, int64(frames-1), 10))
	whole.put("largest", strconv.AppendInt(nil, int64(largest), 10))
	whole.put("names", []byte(strings.Join(names, " ")))
	whole.put("entries", []byte(strings.Join(entries, "\n")))
	whole.put("data", data)
	return whole, nil
}
