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

func ExampleAppendExec() {
	e := framing.Exec{TimeoutMS: 30_000, Command: []byte("id")}
	fmt.Printf("% x\n", framing.AppendExec(nil, framing.TypeExec, 7, &e))
	e.Root = true
	fmt.Printf("% x\n", framing.AppendExec(nil, framing.TypeExec, 8, &e))
	// Output:
	// 00 00 00 0f 03 00 00 00 07 00 00 75 30 00 00 00 02 69 64
	// 00 00 00 10 03 00 00 00 08 00 00 75 30 01 00 00 00 02 69 64
}
