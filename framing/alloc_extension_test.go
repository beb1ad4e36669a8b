package framing

import (
	"runtime"
	"testing"
)

// TestNothingAllocatesInTheExtension is TestNothingAllocates for what a guest does with messages of
// the extension. It is not parallel either.
func TestNothingAllocatesInTheExtension(t *testing.T) {
	payloads := map[string][]byte{}
	for _, g := range readGolden(t) {
		if g.fields["stream_error"] == "" {
			payloads[g.name] = g.payload()
		}
	}
	var (
		dst    = make([]byte, 0, 4096)
		s      Start
		exited = Exited{Code: 127, Message: []byte("exec: no such file or directory")}
		info   = FileInfo{Name: []byte("a"), Target: []byte("b")}
		procs  = []Process{{ID: 1, Command: []byte("sh")}}
		ports  = []Port{{Address: []byte("::1"), Program: []byte("sshd")}}
		path   = []byte("/tmp/a")
		facts  Facts
		values Figures
	)
	facts.Add("kernel", "6.1")
	values.Add("epoch", 1)
	result := HelloResult{Version: Version, Facts: facts}
	good := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		run  func()
	}{
		{"parse hello", func() { _, err := ParseHello(payloads["hello"]); good(err) }},
		{"parse start", func() { good(ParseStart(payloads["start_full"], &s)) }},
		{"lists of a start", func() {
			n := 0
			for word := range s.Args.All {
				n += len(word)
			}
			for key, value := range s.Env.All {
				n += len(key) + len(value)
			}
			for limit := range s.Limits.All {
				n += int(limit.Resource)
			}
			if n != len("vi\xffA1PATH/b=inA")+7+255 {
				t.Fatal(n)
			}
		}},
		{"parse attach", func() { _, err := ParseAttach(payloads["attach"]); good(err) }},
		{"parse close", func() { _, err := ParseClose(payloads["close"]); good(err) }},
		{"parse credit", func() { _, _, err := ParseCredit(payloads["credit"]); good(err) }},
		{"parse resize", func() { _, _, err := ParseResize(payloads["resize"]); good(err) }},
		{"parse signal", func() { _, err := ParseSignal(payloads["signal"]); good(err) }},
		{"parse read", func() { _, err := ParseRead(payloads["read"]); good(err) }},
		{"parse write", func() { _, err := ParseWrite(payloads["write"]); good(err) }},
		{"parse stat", func() { _, _, err := ParseStat(payloads["stat"]); good(err) }},
		{"parse list", func() { _, err := ParseList(payloads["list"]); good(err) }},
		{"parse change", func() { _, err := ParseChange(payloads["change"]); good(err) }},
		{"parse pressure", func() { _, err := ParsePressure(payloads["pressure"]); good(err) }},
		{"parse restore", func() { _, _, err := ParseRestore(payloads["restore"]); good(err) }},
		{"parse freeze", func() { _, _, err := ParseFreeze(payloads["freeze"]); good(err) }},
		{"parse power", func() { _, _, err := ParsePower(payloads["power"]); good(err) }},
		{"parse configure", func() { _, _, err := ParseConfigure(payloads["configure"]); good(err) }},
		{"parse network", func() { _, err := ParseNetwork(payloads["network"]); good(err) }},
		{"parse mount", func() { _, err := ParseMount(payloads["mount"]); good(err) }},
		{"parse unmount", func() { _, _, err := ParseUnmount(payloads["unmount"]); good(err) }},
		{"parse disk", func() { _, _, err := ParseDisk(payloads["disk"]); good(err) }},
		{"parse identity", func() { _, err := ParseIdentity(payloads["identity"]); good(err) }},
		{"parse services", func() { _, err := ParseServices(payloads["services"]); good(err) }},
		{"parse service", func() { _, err := ParseService(payloads["service"]); good(err) }},
		{"append facts", func() { AppendFacts(dst, 1, facts) }},
		{"parse connect", func() { _, err := ParseConnect(payloads["connect"]); good(err) }},
		{"parse listen", func() { _, err := ParseListen(payloads["listen"]); good(err) }},
		{"parse accept", func() { _, _, err := ParseAccept(payloads["accept"]); good(err) }},
		{"parse ports", func() { _, err := ParsePorts(payloads["ports"]); good(err) }},
		{"parse kernel_log", func() { _, err := ParseKernelLog(payloads["kernel_log"]); good(err) }},
		{"append a record", func() { AppendKernelRecord(dst, &KernelRecord{Text: path}) }},
		{"append connected", func() { AppendConnected(dst, 1, &Connected{1, path, path}) }},
		{"append listening", func() { AppendListening(dst, 1, path) }},
		{"append incoming", func() { AppendIncoming(dst, 1, 2, path) }},
		{"append port_list", func() { AppendPortList(dst, 1, ports) }},
		{"append input", func() { AppendFrame(dst, TypeInput, 1, path) }},
		{"append hello_result", func() { AppendHelloResult(dst, 1, &result) }},
		{"append started", func() { AppendStarted(dst, 1, Started{1, 2, 3}) }},
		{"append output's head", func() { AppendOutputHead(dst, 1, StreamOutput, MaxOutputData) }},
		{"append close", func() { AppendClose(dst, 1, StreamOutput) }},
		{"append credit", func() { AppendCredit(dst, 1, StreamInput, 9) }},
		{"append exited", func() { AppendExited(dst, 1, &exited) }},
		{"append process_list", func() { AppendProcessList(dst, 1, procs) }},
		{"append done", func() { AppendDone(dst, 1, 2, 0, "stat /a: no such file or directory") }},
		{"append an entry", func() { AppendFileInfo(dst, &info) }},
		{"append stat_result", func() { AppendStatResult(dst, 1, &info) }},
		{"append figures", func() { AppendFigures(dst, 1, values) }},
		// A host does these for each of many messages.
		{"parse output", func() { _, _, err := ParseOutput(payloads["output"]); good(err) }},
		{"parse started", func() { _, err := ParseStarted(payloads["started"]); good(err) }},
		{"parse exited", func() { good(ParseExited(payloads["exited"], &exited)) }},
		{"parse done", func() { _, err := ParseDone(payloads["done_failed"]); good(err) }},
		{"cut an entry", func() { _, _, err := CutFileInfo(AppendFileInfo(dst, &info)); good(err) }},
		{"parse figures", func() { _, err := ParseFigures(payloads["figures"]); good(err) }},
	} {
		if n := testing.AllocsPerRun(100, test.run); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
	}
}

// TestRefusalsAllocateLittle gives every parser malformed payloads, some with hostile counts: they
// do not cause allocations.
func TestRefusalsAllocateLittle(t *testing.T) {
	for _, g := range readGolden(t) {
		if g.fields["payload_error"] == "" || extensionTypes[g.typ()] == nil {
			continue
		}
		const runs = 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			if _, err := parseExtension(g.typ(), g.payload()); err == nil {
				t.Errorf("%s: no error", g.name)
			}
		}
		runtime.ReadMemStats(&after)
		// The error, the test's box of the message, and a record or two are allocated.
		if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 1024 {
			t.Errorf("%s: %d bytes", g.name, n)
		}
	}
}
