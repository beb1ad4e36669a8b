package main

import (
	"strings"
	"testing"
	"time"

	"wick/framing"
	"wick/framing/client"
)

// readings are names and values in turn.
type readings []any

func (f readings) all(yield func(string, uint64) bool) {
	for i := 0; i < len(f) && yield(f[i].(string), uint64(f[i+1].(int))); i += 2 {
	}
}

func (f readings) lookup(name string) (uint64, bool) {
	for n, value := range f.all {
		if n == name {
			return value, true
		}
	}
	return 0, false
}

func TestKernelLevels(t *testing.T) {
	for list, want := range map[string]string{"": "01234567", "warn": "4", "err+": "0123", "crit,debug": "27", "emerg+,info": "06"} {
		levels, err := parseKernelLevels(list)
		got := ""
		for i, on := range levels {
			if on {
				got += string(rune('0' + i))
			}
		}
		if got != want || err != nil {
			t.Errorf("parseKernelLevels(%q) = %s, %v, want %s", list, got, err, want)
		}
	}
	for _, list := range []string{"warning", "warn++", ",", "+"} {
		if _, err := parseKernelLevels(list); err == nil {
			t.Errorf("parseKernelLevels(%q) is no error", list)
		}
	}
}

// TestKernelRecordPrinted prints a record of several lines, with text that a terminal must not
// get.
func TestKernelRecordPrinted(t *testing.T) {
	r := client.KernelRecord{Level: 4, Sequence: 7, Time: 1234567 * time.Microsecond, Text: "a\nb\x1b[31m", Dictionary: []string{"K=v"}, Lost: 2}
	var text, line strings.Builder
	if err := printKernelRecord(&text, &r); err != nil {
		t.Fatal(err)
	}
	if err := printKernelJSON(&line, &r); err != nil {
		t.Fatal(err)
	}
	if got, want := text.String(), "[    1.234567] a\n               b?[31m\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := line.String(), `{"level":"warn","facility":0,"sequence":7,"time":1.234567,"lost":2,"text":"a\nb\u001b[31m","dictionary":["K=v"]}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLooks has a guest whose agent had no processor, one that stood still between two looks or
// during one, and answers that are late.
func TestLooks(t *testing.T) {
	f := readings{"loop.delay", 1500, "loop.wait", 0, "psi.cpu.some", 1234, "psi.io.some", 5}
	const ms, s = time.Millisecond, time.Second
	var all looks
	for i, tt := range []struct {
		look
		wait, still string
	}{
		{look{0, 10 * ms, 60 * s, 0}, "", ""},
		{look{1 * s, 1010 * ms, 61 * s, 40 * ms}, " wait=40.000 ms", ""},
		{look{2 * s, 5000 * ms, 65 * s, 40 * ms}, " wait=0.000 ms", ""}, // the request is late
		{look{6 * s, 9000 * ms, 66 * s, 40 * ms}, " wait=0.000 ms", ""}, // the answer is late
		{look{12 * s, 12010 * ms, 70 * s, 40 * ms}, " wait=0.000 ms", " stood-still=2000.000 ms"},
		{look{13 * s, 16000 * ms, 71 * s, 40 * ms}, " wait=0.000 ms", ""}, // it stands still meanwhile
		{look{17 * s, 17010 * ms, 72 * s, 40 * ms}, " wait=0.000 ms", " stood-still=2990.000 ms"},
	} {
		want := " loop=1.500 ms" + tt.wait + " cpu=12.34% io=0.05%" + tt.still
		if got := all.describe(f.lookup, &tt.look); got != want {
			t.Errorf("look %d: got %q, want %q", i, got, want)
		}
	}
}

func TestUsageText(t *testing.T) {
	r := client.Receipt{Elapsed: 1500 * time.Millisecond, User: 20 * time.Millisecond, Peak: 5 << 20}
	if got, want := usageText(&r), "elapsed 1.5s, user 20ms, system 0s, memory 5.0M"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.IO = &framing.IO{Read: 4096, Written: 3 << 20, Reads: 1, Writes: 7}
	if got, want := usageText(&r), "elapsed 1.5s, user 20ms, system 0s, memory 5.0M, read 4.0K in 1, written 3.0M in 7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
