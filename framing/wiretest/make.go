package wiretest

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// Raw makes a frame of any type and payload.
func Raw(typ byte, seq uint32, payload []byte) []byte {
	b := make([]byte, 0, HeaderSize+len(payload))
	b = binary.BigEndian.AppendUint32(b, uint32(5+len(payload)))
	b = binary.BigEndian.AppendUint32(append(b, typ), seq)
	return append(b, payload...)
}

// Make makes a frame. The values are those of the message's fields in their order: integers,
// texts, and a list as one slice of all the values in it. Values may be left out where a form of
// the message ends.
func Make(typ byte, seq uint32, values ...any) []byte { return Raw(typ, seq, Payload(typ, values...)) }

// Payload makes the payload of a frame that [Make] makes. It panics if the values do not match
// the layout.
func Payload(typ byte, values ...any) []byte {
	m := ByType(typ)
	for _, form := range m.forms {
		fields := slices.DeleteFunc(slices.Clone(form), func(it item) bool { return it.kind == '?' })
		conditions := 0
		ends := len(values) == len(fields)
		for i, it := range form {
			if it.kind == '?' {
				ends = ends || len(values) == i-conditions
				conditions++
			}
		}
		if !ends {
			continue
		}
		fields = fields[:len(values)]
		var b []byte
		for i, it := range fields {
			b = it.append(b, values[i])
		}
		return b
	}
	panic(fmt.Sprintf("wiretest: %d values make no %s", len(values), m.Name))
}

// append appends a value.
func (it *item) append(b []byte, value any) []byte {
	v := reflect.ValueOf(value)
	switch it.kind {
	case 'u', 'i':
		if v.CanInt() {
			return appendNumber(b, it.size, uint64(v.Int()))
		}
		return appendNumber(b, it.size, v.Uint())
	case '{':
		b = appendNumber(b, it.size, uint64(v.Len()/len(it.group)))
		for i := range v.Len() {
			b = it.group[i%len(it.group)].append(b, v.Index(i).Interface())
		}
		return b
	}
	text := value
	if s, ok := value.(string); ok {
		text = []byte(s)
	}
	return append(appendNumber(b, it.size, uint64(v.Len())), text.([]byte)...)
}

func appendNumber(b []byte, size int, n uint64) []byte {
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], n)
	return append(b, wide[8-size:]...)
}

// A Given is a field of a message that need not be a good one: the value is the text, or the
// number as Go writes it. The names of counts are names of numbers too, and replace what would be
// true.
type Given struct {
	Name  string
	Value []byte
}

// Assemble makes a payload of fields by their names. A field that is not given is 0 or empty, and
// one of a list may be given several times. The form is the first that has all the names.
func Assemble(typ byte, given []Given) (payload []byte, err error) {
	m := ByType(typ)
	for _, form := range m.forms {
		if unknown := slices.IndexFunc(given, func(g Given) bool { return !has(form, g.Name) }); unknown >= 0 {
			err = fmt.Errorf("%s has no field %q", m.Name, given[unknown].Name)
			continue
		}
		return assemble(form, given)
	}
	return nil, err
}

func has(layout []item, name string) bool {
	return slices.ContainsFunc(layout, func(it item) bool {
		return it.kind != '?' && (it.name == name && it.kind != '{' || it.count == name || has(it.group, name))
	})
}

func assemble(layout []item, given []Given) (b []byte, err error) {
	numbers := map[string]uint64{}
	number := func(name string, size int, or uint64) {
		n, bad := or, error(nil)
		if i := slices.IndexFunc(given, func(g Given) bool { return g.Name == name }); i >= 0 {
			n, bad = parseNumber(given[i])
		}
		if bad != nil {
			err = bad
		}
		numbers[name] = n
		b = appendNumber(b, size, n)
	}
	for _, it := range layout {
		var text []byte
		if i := slices.IndexFunc(given, func(g Given) bool { return g.Name == it.name }); i >= 0 {
			text = given[i].Value
		}
		switch it.kind {
		case '?':
			if numbers[it.name]&it.bits == 0 {
				return b, err
			}
		case 'u', 'i':
			number(it.name, it.size, 0)
		case '*':
			b = append(b, text...)
		case '{':
			var entries []byte
			count := uint64(0)
			for _, g := range given {
				for i, field := range it.group {
					if g.Name != field.name {
						continue
					}
					one, bad := assemble(it.group[i:i+1], []Given{g})
					if bad != nil {
						err = bad
					}
					entries = append(entries, one...)
					if i == 0 {
						count++
					}
				}
			}
			number(it.count, it.size, count)
			b = append(b, entries...)
		default:
			number(it.count, it.size, uint64(len(text)))
			b = append(b, text...)
		}
	}
	return b, err
}

func parseNumber(g Given) (uint64, error) {
	if n, err := strconv.ParseInt(string(g.Value), 0, 64); err == nil {
		return uint64(n), nil
	}
	n, err := strconv.ParseUint(string(g.Value), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s=%s is no number", g.Name, g.Value)
	}
	return n, nil
}
