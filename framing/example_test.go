package framing_test

import (
	"fmt"
	"strings"

	"wick/framing"
)

// A host reads a guest's frames from a stream, here eight bytes at a time.
func ExampleDecoder() {
	var wire []byte
	wire = framing.AppendFrame(wire, framing.TypeReady, 0, nil)
	wire = framing.AppendExecResult(wire, 1, &framing.ExecResult{Stdout: []byte("hi\n")})
	stream := strings.NewReader(string(wire))

	buf := make([]byte, 0, 64)
	d := framing.Decoder{Window: cap(buf)}
	for stream.Len() > 0 {
		n, _ := stream.Read(buf[len(buf):min(len(buf)+8, cap(buf))])
		buf = buf[:len(buf)+n]

		rest := buf
		for {
			var p framing.Part
			n, err := d.Next(rest, &p)
			if err != nil {
				fmt.Println(err)
				return
			}
			if n == 0 {
				break
			}
			rest = rest[n:]

			var r framing.ExecResult
			if p.Type == framing.TypeExecResult && framing.ParseExecResult(p.Data, &r) == nil {
				fmt.Printf("%v to %d: exit %d, %q\n", p.Type, p.Seq, r.ExitCode, r.Stdout)
				continue
			}
			fmt.Println(p.Type)
		}
		buf = buf[:copy(buf, rest)]
	}
	// Output:
	// ready
	// exec_result to 1: exit 0, "hi\n"
}

// A host starts a process and reads its stream: the output, its end, and the receipt.
func ExampleStart() {
	start := framing.Start{ID: 1, OutputCredit: 64 << 10, ErrorsCredit: 64 << 10}
	start.Args.Add("echo")
	start.Args.Add("hi")
	fmt.Printf("% x\n", framing.AppendStart(nil, 7, &start))

	// This is the reply, with the seq of the start.
	wire := []byte("" +
		"\x00\x00\x00\x15\x23\x00\x00\x00\x07" + "\x00\x00\x01\x9c" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" +
		"\x00\x00\x00\x09\x26\x00\x00\x00\x07" + "\x01hi\n" +
		"\x00\x00\x00\x06\x27\x00\x00\x00\x07" + "\x01" +
		"\x00\x00\x00\x06\x27\x00\x00\x00\x07" + "\x02")
	wire = framing.AppendExited(wire, 7, &framing.Exited{Code: 3, Output: 3, ElapsedUS: 1500})

	d := framing.Decoder{Window: 64 << 10}
	var p framing.Part
	for len(wire) > 0 {
		n, err := d.Next(wire, &p)
		if n == 0 || err != nil {
			fmt.Println("the stream is broken:", err)
			return
		}
		wire = wire[n:]
		switch p.Type {
		case framing.TypeStarted:
			s, err := framing.ParseStarted(p.Data)
			fmt.Println(p.Type, "pid", s.PID, err)
		case framing.TypeOutput:
			s, data, err := framing.ParseOutput(p.Data)
			fmt.Printf("%v %d %q %v\n", p.Type, s, data, err)
		case framing.TypeClose:
			s, err := framing.ParseClose(p.Data)
			fmt.Println(p.Type, s, err)
		case framing.TypeExited:
			var e framing.Exited
			err := framing.ParseExited(p.Data, &e)
			fmt.Println(p.Type, "code", e.Code, "after", e.ElapsedUS, "µs and", e.Output, "bytes", err)
		}
	}
	// Output:
	// 00 00 00 45 22 00 00 00 07 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02 00 00 00 04 65 63 68 6f 00 00 00 02 68 69 00 00 00 00 00
	// started pid 412 <nil>
	// output 1 "hi\n" <nil>
	// close 1 <nil>
	// close 2 <nil>
	// exited code 3 after 1500 µs and 3 bytes <nil>
}

func ExampleAppendExec() {
	e := framing.Exec{TimeoutMS: 30_000, Command: []byte("id")}
	fmt.Printf("% x\n", framing.AppendExec(nil, framing.TypeExec, 7, &e))
	e.Root = true
	fmt.Printf("% x\n", framing.AppendExec(nil, framing.TypeExec, 8, &e))
	// Output:
	// 00 00 00 0f 03 00 00 00 07 00 00 75 30 00 00 00 02 69 64
	// 00 00 00 10 03 00 00 00 08 00 00 75 30 01 00 00 00 02 69 64
}
