package framing

import (
	"encoding/binary"
	"fmt"
	"strings"

	"wick/framing/wiretest"
)

// The package's tests hold it against package wiretest, a second reading of the protocol that
// shares no code with it. A message is rendered as the lines that the golden files have.

// naiveNames are the fields whose names in the golden files, which are those of the Go types, are
// not those of wiretest.
var naiveNames = map[Type]string{
	TypeExec:        "timeout=timeout_ms cmd=command",
	TypeSpawnWatch:  "timeout=timeout_ms cmd=command",
	TypeExecResult:  "code=exit_code",
	TypeProcessExit: "code=exit_code",
	TypeStart: "timeout=timeout_ms keep=keep_ms credit=output_credit errcredit=errors_credit " +
		"wait=wait_ms",
	TypeLook:   "out=output err=errors credit=output_credit errcredit=errors_credit",
	TypeAttach: "out=output err=errors credit=output_credit errcredit=errors_credit",
	TypeExited: "user=user_us system=system_us elapsed=elapsed_us out=output err=errors " +
		"outdropped=output_dropped errdropped=errors_dropped",
	TypeProcessList: "list=processes",
	TypeRead:        "bytes=length",
	TypeStatResult:  "nlink=links bytes=size mtime=mod_time rdev=device",
	TypeChange:      "mtime=mod_time",
	TypePressure:    "stall=stall_us window=window_us",
	TypeRestore:     "time=unix_ns",
	TypeFreeze:      "after=thaw_after_ms",
	TypePower:       "grace=grace_ms",
	TypeIdentity:    "time=unix_ns",
	TypeConnect:     "timeout=timeout_ms",
	TypeMount:       "wait=wait_ms",
	TypeUnmount:     "path=target",
}

// naiveBits are the flags that the golden files have one by one.
var naiveBits = map[Type][]string{
	TypeExec:       {"root"},
	TypeSpawnWatch: {"root"},
	TypeWriteFile:  {"sudo"},
	TypeStart:      {"shell", "stdin", "terminal", "merge", "only"},
	TypeExited:     {"core", "tree", "held", "has_io"},
	TypeKernelLog:  {"new", "follow"},
	TypePorts:      {"watch"},
	TypeServices:   {"watch"},
	TypeLook:       {"follow"},
}

// naiveMessage describes a message of the given type, or returns "" if it is malformed.
func naiveMessage(t Type, payload []byte) string {
	if wiretest.ByType(byte(t)) == nil {
		t = TypePing // of which a payload is any bytes too
	}
	fields, err := wiretest.Parse(byte(t), payload)
	if err != nil {
		return ""
	}
	return naiveLines(t, fields)
}

// naiveLines describes the message that has those fields.
func naiveLines(t Type, fields wiretest.Fields) (s string) {
	line := func(name string, values ...any) {
		s += strings.TrimSuffix(fmt.Sprintln(append([]any{name, "="}, values...)...), "\n") + "\n"
	}
	names := map[string]string{}
	for pair := range strings.FieldsSeq(naiveNames[t]) {
		name, other, _ := strings.Cut(pair, "=")
		names[name] = other
	}
	flags := 0
	for _, f := range fields {
		if f.Name == "flags" {
			flags = int(f.Number)
		}
	}
	bits := func() {
		for i, name := range naiveBits[t] {
			line(name, flags>>i&1 == 1)
		}
	}
	var modes, io []any
	for _, f := range fields {
		name := f.Name
		if other, ok := names[name]; ok {
			name = other
		}
		switch {
		case name == "flags" && naiveBits[t] != nil:
			if t == TypeStart || t == TypeExited || t == TypeWriteFile || t == TypePorts || t == TypeKernelLog || t == TypeLook || t == TypeServices {
				bits()
			}
			if t == TypeStart {
				line("loose", flags&128 != 0)
			}
			if t == TypeWriteFile && flags&2 != 0 {
				line("append", true)
			}
		case t == TypeWriteFileResult && name == "success":
			line(name, f.Number == 1)
		case name == "iflag" || name == "oflag" || name == "lflag" || name == "cc":
			modes = append(modes, naiveValue(f))
		case t == TypeExited && (name == "read" || name == "written" || name == "reads" || name == "writes"):
			io = append(io, naiveValue(f))
		case t == TypeInput || name == "payload":
			if len(f.Text) > 0 {
				line("payload", naiveValue(f))
			}
		case f.IsList():
			if t == TypeProcessList || t == TypeFigures || t == TypeNetwork || t == TypeFacts || t == TypeConfigure ||
				t == TypePortList || t == TypeIdentity || t == TypeIdentityResult {
				line("count", f.Number)
			}
			for _, entry := range f.List {
				var values []any
				for _, value := range entry {
					if value.Name == "flags" {
						values = append(values, value.Number&1 != 0, value.Number&2 != 0, value.Number&4 != 0)
						continue
					}
					values = append(values, naiveValue(value))
				}
				line(name, values...)
			}
			if t == TypeStart && name == "limits" {
				line("more", flags&32 != 0)
			}
		default:
			switch {
			case name == "command":
				bits()
			case name == "log" && flags&2 != 0:
				line("stream", true)
			}
			line(name, naiveValue(f))
		}
	}
	switch {
	case t == TypeSpawnWatch && flags&2 != 0 && fields[len(fields)-1].Name != "log":
		line("stream", true)
	case t == TypeFreeze && len(fields) == 1:
		line("flags", 0)
	case t == TypeStart && modes == nil:
		line("wait_ms", 0)
		line("modes", 0, 0, 0, `""`)
	case modes != nil:
		line("modes", modes...)
	}
	switch {
	case t == TypeExited && io == nil:
		line("io", 0, 0, 0, 0)
	case io != nil:
		line("io", io...)
	}
	return s
}

func naiveValue(f wiretest.Field) string {
	if f.IsText() {
		return fmt.Sprintf("%q", f.Text)
	}
	return f.String()
}

// naiveFrame is a frame, as far as the stream goes.
type naiveFrame struct {
	Header
	Payload []byte
}

// naiveFrames cuts a whole stream up. The last frame's payload may be incomplete; a frame without
// a complete header is not there. bad is the length that ends the stream, or -1.
func naiveFrames(stream []byte) (frames []naiveFrame, bad int64) {
	for len(stream) >= 4 {
		length := int64(binary.BigEndian.Uint32(stream))
		if length < 5 || length > 16777216 {
			return frames, length
		}
		if len(stream) < 9 {
			break
		}
		end := min(int64(len(stream)), 4+length)
		frames = append(frames, naiveFrame{
			Header:  Header{Type(stream[4]), binary.BigEndian.Uint32(stream[5:]), int(length - 5)},
			Payload: stream[9:end],
		})
		stream = stream[end:]
	}
	return frames, -1
}
