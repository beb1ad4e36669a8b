package framing

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

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
		case Secrets:
			for s := range list.All {
				line(uint8(s.Kind), s.Mode, s.Owner, s.Name, s.Value)
			}
		case IdentityResult:
			for part := range list.All {
				line(part.Name, part.Errno, part.Value, part.Reason)
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
		case []Process, []Port:
			for _, record := range reflect.ValueOf(list).Seq2() {
				var values []any
				for i := range record.NumField() {
					values = append(values, record.Field(i).Interface())
				}
				line(values...)
			}
		case Confinement: // confine_test.go has its tests
		case Modes:
			line(list.Input, list.Output, list.Local, list.Chars)
		case IO:
			line(list.Read, list.Written, list.Reads, list.Writes)
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
		case *Secrets:
			var s Secret
			next(&s.Kind)
			next(&s.Mode)
			next(&s.Owner)
			next(&s.Name)
			next(&s.Value)
			list.Add(&s)
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
		case *IdentityResult:
			var part Done
			next(&name)
			next(&part.Errno)
			next(&part.Value)
			next(&part.Reason)
			list.Add(string(name), part.Errno, part.Value, string(part.Reason))
		case *[]Process:
			var p Process
			for i := range reflect.ValueOf(p).NumField() {
				next(reflect.ValueOf(&p).Elem().Field(i).Addr().Interface())
			}
			*list = append(*list, p)
		case *[]Port:
			var p Port
			for i := range reflect.ValueOf(p).NumField() {
				next(reflect.ValueOf(&p).Elem().Field(i).Addr().Interface())
			}
			*list = append(*list, p)
		case *Modes:
			next(&list.Input)
			next(&list.Output)
			next(&list.Local)
			next(&list.Chars)
		case *IO:
			next(&list.Read)
			next(&list.Written)
			next(&list.Reads)
			next(&list.Writes)
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
