package framing

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAddLeavesTheBuffer adds to parsed lists. The buffer from which they were parsed does not
// change, whatever room is behind them, and neither does an earlier copy.
func TestAddLeavesTheBuffer(t *testing.T) {
	t.Parallel()
	var start Start
	start.ID = 1
	start.Args.Add("ls")
	start.Env.Add([]byte("A"), []byte("1"))
	start.Limits.Add(Limit{7, 1, 2})
	var result HelloResult
	result.Facts.Add("kernel", "6.1")
	var figures figuresMessage
	figures.Figures.Add("epoch", 1)
	for _, message := range []any{start, result, figures} {
		frame := appendExtension(nil, 1, message)
		buffer := append(frame, "next frame"...)
		was := string(buffer)
		parsed, err := parseExtension(Type(frame[4]), buffer[HeaderSize:len(frame)])
		if err != nil {
			t.Fatal(err)
		}
		lines := render(parsed)
		switch m := parsed.(type) {
		case Start:
			m.Args.Add("-l")
			m.Env.Add([]byte("B"), nil)
			m.Limits.Add(Limit{8, 3, 4})
			want := strings.NewReplacer(
				`args = "ls"`, "args = \"ls\"\nargs = \"-l\"", `env = "A" "1"`, "env = \"A\" \"1\"\nenv = \"B\" \"\"",
				`limits = 7 1 2`, "limits = 7 1 2\nlimits = 8 3 4").Replace(lines)
			if diff := cmp.Diff(want, render(m)); diff != "" {
				t.Error(diff)
			}
			if m.Args.Len() != 2 || m.Env.Len() != 2 || m.Limits.Len() != 2 {
				t.Errorf("%d words, %d entries, %d limits", m.Args.Len(), m.Env.Len(), m.Limits.Len())
			}
		case HelloResult:
			m.Facts.Add("mount./", "overlay")
			if diff := cmp.Diff(lines+"facts = \"mount./\" \"overlay\"\n", render(m)); diff != "" || m.Facts.Len() != 2 {
				t.Error(m.Facts.Len(), diff)
			}
		case figuresMessage:
			m.Figures.Add("load.1", 2)
			m.Count = 1
			if diff := cmp.Diff(lines+"figures = \"load.1\" 2\n", render(m)); diff != "" || m.Figures.Len() != 2 {
				t.Error(m.Figures.Len(), diff)
			}
		}
		if string(buffer) != was || render(parsed) != lines {
			t.Errorf("%T: the buffer became %q, was %q", message, buffer, was)
		}
	}
}

// TestBreak leaves every list after its first entry.
func TestBreak(t *testing.T) {
	t.Parallel()
	var s Start
	var facts Facts
	var figures Figures
	for i := range 2 {
		s.Args.Add(strconv.Itoa(i))
		s.Limits.Add(Limit{Resource: uint8(i)})
		facts.Add(strconv.Itoa(i), "")
		figures.Add(strconv.Itoa(i), 0)
	}
	for word := range s.Args.All {
		if string(word) != "0" {
			t.Error("the words went on")
		}
		break
	}
	for limit := range s.Limits.All {
		if limit.Resource != 0 {
			t.Error("the limits went on")
		}
		break
	}
	for name := range facts.All {
		if string(name) != "0" {
			t.Error("the facts went on")
		}
		break
	}
	for name := range figures.All {
		if string(name) != "0" {
			t.Error("the figures went on")
		}
		break
	}
}

// TestCountsDoNotWrap exceeds every small count.
func TestCountsDoNotWrap(t *testing.T) {
	t.Parallel()
	var s Start
	s.ID = 1
	s.Args.Add("ls")
	for i := range 257 {
		s.Limits.Add(Limit{Resource: uint8(i), Soft: uint64(i)})
	}
	var parsed Start
	if err := ParseStart(AppendStart(nil, 1, &s)[HeaderSize:], &parsed); err != nil || parsed.Limits.Len() != 255 {
		t.Errorf("%d limits, %v", parsed.Limits.Len(), err)
	}

	var result, back HelloResult
	var figures Figures
	for range 65537 {
		result.Facts.Add("", "")
		figures.Add("", 0)
	}
	if err := ParseHelloResult(AppendHelloResult(nil, 1, &result)[HeaderSize:], &back); err != nil || back.Facts.Len() != 65535 {
		t.Errorf("%d facts, %v", back.Facts.Len(), err)
	}
	if got, err := ParseFigures(AppendFigures(nil, 1, figures)[HeaderSize:]); err != nil || got.Len() != 65535 {
		t.Errorf("%d figures, %v", got.Len(), err)
	}
}

// TestExtensionTextsAreCut encodes texts of about the longest that their counts allow. Fields after
// them stay in place.
func TestExtensionTextsAreCut(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, MaxText - 1, MaxText, MaxText + 1, 2 * MaxText} {
		long := []byte(strings.Repeat("x", n))
		cut := long[:min(n, MaxText)]
		name, shortName := long, long[:min(n, 255)]
		command := long[:min(n, MaxCommand)]
		var facts, wantFacts Facts
		facts.Add(string(name), string(long))
		wantFacts.Add(string(shortName), string(cut))
		var figures, wantFigures Figures
		figures.Add(string(name), 9)
		wantFigures.Add(string(shortName), 9)
		var args Words
		args.Add("ls")
		for _, test := range []struct{ message, want any }{
			{HelloResult{Facts: facts}, HelloResult{Facts: wantFacts}},
			{Start{ID: 1, User: long, Dir: long, Args: args}, Start{ID: 1, User: cut, Dir: cut, Args: args}},
			{Exited{Message: long}, Exited{Message: cut}},
			{processListMessage{1, []Process{{Command: long}, {ID: 2}}}, processListMessage{2, []Process{{Command: command}, {ID: 2}}}},
			{Done{Reason: long}, Done{Reason: cut}},
			{Read{Path: long}, Read{Path: cut}},
			{Write{Path: long}, Write{Path: cut}},
			{statMessage{Path: long}, statMessage{Path: cut}},
			{FileInfo{Name: long, Target: long}, FileInfo{Name: cut, Target: cut}},
			{List{Path: long}, List{Path: cut}},
			{Change{Path: long, Other: long}, Change{Path: cut, Other: cut}},
			{figuresMessage{1, figures}, figuresMessage{1, wantFigures}},
			{restoreMessage{1, long}, restoreMessage{1, cut}},
		} {
			frame := appendExtension(nil, 1, test.message)
			got, err := parseExtension(Type(frame[4]), frame[HeaderSize:])
			if err != nil || int(u32(frame)) != len(frame)-4 {
				t.Errorf("%T with %d bytes: %d bytes and a length of %d, %v", test.message, n, len(frame), u32(frame), err)
			} else if render(got) != render(test.want) {
				t.Errorf("%T with %d bytes: cut differently", test.message, n)
			}
		}
	}
}

func TestStartPayloadSize(t *testing.T) {
	t.Parallel()
	for _, g := range readGolden(t) {
		if g.fields["type"] != "start" || g.fields["payload_error"] != "" {
			continue
		}
		var s Start
		if err := ParseStart(g.payload(), &s); err != nil || s.PayloadSize() != len(g.payload()) {
			t.Errorf("%s: %d, want %d; %v", g.name, s.PayloadSize(), len(g.payload()), err)
		}
	}
}

// TestErrorLeavesTheResult checks that the parsers that fill in a value change nothing if the
// payload is bad.
func TestErrorLeavesTheResult(t *testing.T) {
	t.Parallel()
	start := Start{ID: 9, Dir: []byte("/")}
	exited := Exited{Code: 9, Message: []byte("m")}
	result := HelloResult{Version: 9, Epoch: 9}
	was := render(start) + render(exited) + render(result)
	tried := 0
	for _, g := range readGolden(t) {
		if g.fields["payload_error"] == "" {
			continue
		}
		var err error
		switch g.typ() {
		case TypeStart:
			err = ParseStart(g.payload(), &start)
		case TypeExited:
			err = ParseExited(g.payload(), &exited)
		case TypeHelloResult:
			err = ParseHelloResult(g.payload(), &result)
		default:
			continue
		}
		tried++
		if err == nil || render(start)+render(exited)+render(result) != was {
			t.Errorf("%s: %v, and it became %+v, %+v, %+v", g.name, err, start, exited, result)
		}
	}
	if tried < 10 {
		t.Errorf("only %d bad payloads", tried)
	}
}
