package framing

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// These messages of the extension have no type of their own in the package; the tests need one for
// each.
type (
	helloMessage  struct{ Version uint16 }
	outputMessage struct {
		Stream Stream
		Data   []byte
	}
	closeMessage  struct{ Stream Stream }
	creditMessage struct {
		Stream Stream
		Bytes  uint32
	}
	resizeMessage      struct{ Rows, Columns uint16 }
	processListMessage struct {
		Count     uint32
		Processes []Process
	}
	statMessage struct {
		Flags FileFlags
		Path  []byte
	}
	figuresMessage struct {
		Count   uint32
		Figures Figures
	}
	restoreMessage struct {
		UnixNS  uint64
		Entropy []byte
	}
	networkMessage struct {
		Count uint16
		Words NetworkWords
	}
	factsMessage struct {
		Count uint16
		Facts Facts
	}
	skipMessage   struct{ Bytes uint64 }
	freezeMessage struct{ ThawAfterMS uint32 }
	powerMessage  struct {
		How     PowerHow
		GraceMS uint32
	}
)

// extensionTypes has every type of the extension and the Go type of its payload, or nil if it is
// any bytes.
var extensionTypes = map[Type]any{
	TypeHello:       helloMessage{},
	TypeHelloResult: HelloResult{},
	TypeStart:       Start{},
	TypeStarted:     Started{},
	TypeAttach:      Attach{},
	TypeInput:       nil,
	TypeOutput:      outputMessage{},
	TypeClose:       closeMessage{},
	TypeCredit:      creditMessage{},
	TypeResize:      resizeMessage{},
	TypeSignal:      Signal{},
	TypeExited:      Exited{},
	TypeRelease:     nil,
	TypeProcesses:   nil,
	TypeProcessList: processListMessage{},
	TypeDone:        Done{},
	TypeRead:        Read{},
	TypeWrite:       Write{},
	TypeStat:        statMessage{},
	TypeStatResult:  FileInfo{},
	TypeList:        List{},
	TypeChange:      Change{},
	TypeSkip:        skipMessage{},
	TypeStats:       nil,
	TypeFigures:     figuresMessage{},
	TypePressure:    Pressure{},
	TypeRestore:     restoreMessage{},
	TypeFreeze:      freezeMessage{},
	TypeThaw:        nil,
	TypePower:       powerMessage{},
	TypeNetwork:     networkMessage{},
	TypeNetworkShow: nil,
	TypeFacts:       factsMessage{},
}

// parseExtension parses a payload into its type in extensionTypes.
func parseExtension(t Type, payload []byte) (message any, err error) {
	switch t {
	case TypeHello:
		var m helloMessage
		m.Version, err = ParseHello(payload)
		return m, err
	case TypeHelloResult:
		var m HelloResult
		err = ParseHelloResult(payload, &m)
		return m, err
	case TypeStart:
		var m Start
		err = ParseStart(payload, &m)
		return m, err
	case TypeStarted:
		return ParseStarted(payload)
	case TypeAttach:
		return ParseAttach(payload)
	case TypeOutput:
		var m outputMessage
		m.Stream, m.Data, err = ParseOutput(payload)
		return m, err
	case TypeClose:
		var m closeMessage
		m.Stream, err = ParseClose(payload)
		return m, err
	case TypeCredit:
		var m creditMessage
		m.Stream, m.Bytes, err = ParseCredit(payload)
		return m, err
	case TypeResize:
		var m resizeMessage
		m.Rows, m.Columns, err = ParseResize(payload)
		return m, err
	case TypeSignal:
		return ParseSignal(payload)
	case TypeExited:
		var m Exited
		err = ParseExited(payload, &m)
		return m, err
	case TypeProcessList:
		var m processListMessage
		m.Processes, err = ParseProcessList(payload)
		m.Count = uint32(len(m.Processes))
		return m, err
	case TypeDone:
		return ParseDone(payload)
	case TypeRead:
		return ParseRead(payload)
	case TypeWrite:
		return ParseWrite(payload)
	case TypeStat:
		var m statMessage
		m.Flags, m.Path, err = ParseStat(payload)
		return m, err
	case TypeStatResult:
		return ParseStatResult(payload)
	case TypeList:
		return ParseList(payload)
	case TypeChange:
		return ParseChange(payload)
	case TypeSkip:
		var m skipMessage
		m.Bytes, err = ParseSkip(payload)
		return m, err
	case TypeFigures:
		var m figuresMessage
		m.Figures, err = ParseFigures(payload)
		m.Count = uint32(m.Figures.Len())
		return m, err
	case TypePressure:
		return ParsePressure(payload)
	case TypeRestore:
		var m restoreMessage
		m.UnixNS, m.Entropy, err = ParseRestore(payload)
		return m, err
	case TypeFreeze:
		var m freezeMessage
		m.ThawAfterMS, err = ParseFreeze(payload)
		return m, err
	case TypePower:
		var m powerMessage
		m.How, m.GraceMS, err = ParsePower(payload)
		return m, err
	case TypeNetwork:
		var m networkMessage
		m.Words, err = ParseNetwork(payload)
		m.Count = uint16(m.Words.Len())
		return m, err
	case TypeFacts:
		var m factsMessage
		m.Facts, err = ParseFacts(payload)
		m.Count = uint16(m.Facts.Len())
		return m, err
	}
	panic(t)
}

// appendExtension appends the frame of a message that parseExtension returned.
func appendExtension(dst []byte, seq uint32, message any) []byte {
	switch m := message.(type) {
	case helloMessage:
		return AppendHello(dst, seq, m.Version)
	case HelloResult:
		return AppendHelloResult(dst, seq, &m)
	case Start:
		return AppendStart(dst, seq, &m)
	case Started:
		return AppendStarted(dst, seq, m)
	case Attach:
		return AppendAttach(dst, seq, &m)
	case outputMessage:
		return append(AppendOutputHead(dst, seq, m.Stream, len(m.Data)), m.Data...)
	case closeMessage:
		return AppendClose(dst, seq, m.Stream)
	case creditMessage:
		return AppendCredit(dst, seq, m.Stream, m.Bytes)
	case resizeMessage:
		return AppendResize(dst, seq, m.Rows, m.Columns)
	case Signal:
		return AppendSignal(dst, seq, m)
	case Exited:
		return AppendExited(dst, seq, &m)
	case processListMessage:
		return AppendProcessList(dst, seq, m.Processes)
	case Done:
		return AppendDone(dst, seq, m.Errno, m.Value, string(m.Reason))
	case Read:
		return AppendRead(dst, seq, &m)
	case Write:
		return AppendWrite(dst, seq, &m)
	case statMessage:
		return AppendStat(dst, seq, m.Flags, m.Path)
	case FileInfo:
		return AppendStatResult(dst, seq, &m)
	case List:
		return AppendList(dst, seq, &m)
	case Change:
		return AppendChange(dst, seq, &m)
	case skipMessage:
		return AppendSkip(dst, seq, m.Bytes)
	case figuresMessage:
		return AppendFigures(dst, seq, m.Figures)
	case Pressure:
		return AppendPressure(dst, seq, m)
	case restoreMessage:
		return AppendRestore(dst, seq, m.UnixNS, m.Entropy)
	case freezeMessage:
		return AppendFreeze(dst, seq, m.ThawAfterMS)
	case powerMessage:
		return AppendPower(dst, seq, m.How, m.GraceMS)
	case networkMessage:
		return AppendNetwork(dst, seq, m.Words)
	case factsMessage:
		return AppendFacts(dst, seq, m.Facts)
	}
	panic(message)
}

// render writes a message as in the golden files: a line for each field, named as in the Go type
// but in snake case, and one for each entry of a list.
func render(message any) string {
	var s strings.Builder
	v := reflect.ValueOf(message)
	for i := range v.NumField() {
		name := snake(v.Type().Field(i).Name)
		line := func(values ...any) {
			for i, value := range values {
				values[i] = scalar(reflect.ValueOf(value))
			}
			fmt.Fprintln(&s, append([]any{name, "="}, values...)...)
		}
		switch list := v.Field(i).Interface().(type) {
		case Words:
			for word := range list.All {
				line(word)
			}
		case NetworkWords:
			for word := range list.All {
				line(word)
			}
		case Env:
			for key, value := range list.All {
				line(key, value)
			}
		case Limits:
			for limit := range list.All {
				line(limit.Resource, limit.Soft, limit.Hard)
			}
		case Facts:
			for name, value := range list.All {
				line(name, value)
			}
		case Figures:
			for name, value := range list.All {
				line(name, value)
			}
		case []Process:
			for _, p := range list {
				var values []any
				for i := range reflect.ValueOf(p).NumField() {
					values = append(values, reflect.ValueOf(p).Field(i).Interface())
				}
				line(values...)
			}
		case Modes:
			line(list.Input, list.Output, list.Local, list.Chars)
		default:
			line(list)
		}
	}
	return s.String()
}

// scalar writes a number, a bool or a text as in the golden files.
func scalar(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		return strconv.Quote(string(v.Bytes()))
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	}
	return strconv.FormatUint(v.Uint(), 10)
}

// snake converts TimeoutMS to timeout_ms.
func snake(name string) string {
	var s []byte
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			if i > 0 && 'a' <= name[i-1] && name[i-1] <= 'z' {
				s = append(s, '_')
			}
			c += 'a' - 'A'
		}
		s = append(s, c)
	}
	return string(s)
}

// unrender reverses render for a message like the given one. It makes lists with Add.
func unrender(t *testing.T, like any, lines string) any {
	t.Helper()
	v := reflect.New(reflect.TypeOf(like)).Elem()
	for line := range strings.Lines(lines) {
		key, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		var field reflect.Value
		for i := range v.NumField() {
			if snake(v.Type().Field(i).Name) == key {
				field = v.Field(i)
			}
		}
		if !field.IsValid() {
			t.Fatalf("%T has no field for %q", like, line)
		}
		next := func(into any) {
			word := rest
			if quoted, err := strconv.QuotedPrefix(rest); err == nil {
				word = quoted
			} else if before, _, more := strings.Cut(rest, " "); more {
				word = before
			}
			rest = strings.TrimPrefix(rest[len(word):], " ")
			unscalar(t, reflect.ValueOf(into).Elem(), word)
		}
		var name, value []byte
		switch list := field.Addr().Interface().(type) {
		case *Words:
			next(&name)
			list.Add(string(name))
		case *NetworkWords:
			next(&name)
			list.Add(string(name))
		case *Env:
			next(&name)
			next(&value)
			list.Add(name, value)
		case *Limits:
			var l Limit
			next(&l.Resource)
			next(&l.Soft)
			next(&l.Hard)
			list.Add(l)
		case *Facts:
			next(&name)
			next(&value)
			list.Add(string(name), string(value))
		case *Figures:
			var value uint64
			next(&name)
			next(&value)
			list.Add(string(name), value)
		case *[]Process:
			var p Process
			for i := range reflect.ValueOf(p).NumField() {
				next(reflect.ValueOf(&p).Elem().Field(i).Addr().Interface())
			}
			*list = append(*list, p)
		case *Modes:
			next(&list.Input)
			next(&list.Output)
			next(&list.Local)
			next(&list.Chars)
		default:
			next(list)
		}
	}
	return v.Interface()
}

// unscalar reverses scalar.
func unscalar(t *testing.T, v reflect.Value, word string) {
	t.Helper()
	var err error
	switch v.Kind() {
	case reflect.Slice:
		v.SetBytes(unquote(t, word))
	case reflect.Bool:
		v.SetBool(word == "true")
	case reflect.Int32, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(word, 10, v.Type().Bits())
		v.SetInt(n)
	default:
		var n uint64
		n, err = strconv.ParseUint(word, 10, v.Type().Bits())
		v.SetUint(n)
	}
	if err != nil {
		t.Fatal(err)
	}
}
