package framing

// Sizes of the fixed fields of the results, in bytes.
const (
	execResultFixed  = 4 + 4 + 4
	processExitFixed = 4 + execResultFixed
)

// MaxOutput is how many bytes of stdout and stderr together fit an exec_result. A process_exit has
// room for 4 fewer.
const MaxOutput = MaxPayload - 12

// ExecResult is the payload of exec_result, and of process_exit without the pid.
type ExecResult struct {
	// ExitCode is the exit status, 128+N after signal N, or one of 124, 126 and 127; see the
	// package's text.
	ExitCode int32
	// Stdout and Stderr are bytes, not text. After a Parse they alias its payload.
	Stdout, Stderr []byte
}

// AppendExecResult appends an exec_result. Its output has at most MaxOutput bytes, which is not
// checked.
func AppendExecResult(dst []byte, seq uint32, r *ExecResult) []byte {
	dst = AppendExecResultHead(dst, seq, r.ExitCode, len(r.Stdout), len(r.Stderr))
	return appendOutput(dst, r)
}

// AppendProcessExit appends a process_exit, with seq 0. Its output has at most MaxOutput-4 bytes,
// which is not checked.
func AppendProcessExit(dst []byte, pid uint32, r *ExecResult) []byte {
	dst = AppendProcessExitHead(dst, pid, r.ExitCode, len(r.Stdout), len(r.Stderr))
	return appendOutput(dst, r)
}

// appendOutput appends what follows a result's head.
func appendOutput(dst []byte, r *ExecResult) []byte {
	dst = append(dst, r.Stdout...)
	dst = AppendCount(dst, len(r.Stderr))
	return append(dst, r.Stderr...)
}

// AppendExecResultHead appends the head of an exec_result whose output is not in memory. After it
// come nout bytes of stdout, AppendCount(nerr), and nerr bytes of stderr.
func AppendExecResultHead(dst []byte, seq uint32, exitCode int32, nout, nerr int) []byte {
	dst = AppendHeader(dst, TypeExecResult, seq, execResultFixed+nout+nerr)
	dst = appendU32(dst, uint32(exitCode))
	return AppendCount(dst, nout)
}

// AppendProcessExitHead is AppendExecResultHead for a process_exit.
func AppendProcessExitHead(dst []byte, pid uint32, exitCode int32, nout, nerr int) []byte {
	dst = AppendHeader(dst, TypeProcessExit, 0, processExitFixed+nout+nerr)
	dst = appendU32(dst, pid)
	dst = appendU32(dst, uint32(exitCode))
	return AppendCount(dst, nout)
}

// ParseExecResult parses the whole payload of an exec_result into r. After an error (*PayloadError)
// r is unchanged.
func ParseExecResult(payload []byte, r *ExecResult) error {
	return parseResult(TypeExecResult, payload, r)
}

// ParseProcessExit parses the whole payload of a process_exit into r. After an error
// (*PayloadError) r is unchanged.
func ParseProcessExit(payload []byte, r *ExecResult) (pid uint32, err error) {
	if len(payload) < processExitFixed {
		return 0, &PayloadError{TypeProcessExit, reasonShort}
	}
	if err := parseResult(TypeProcessExit, payload[4:], r); err != nil {
		return 0, err
	}
	return u32(payload), nil
}

// parseResult parses exit code, stdout and stderr, which are all of b.
func parseResult(t Type, b []byte, r *ExecResult) error {
	if len(b) < execResultFixed {
		return &PayloadError{t, reasonShort}
	}
	if !within(u32(b[4:]), len(b)-execResultFixed) {
		return &PayloadError{t, reasonCount}
	}
	stdout, rest := cutText(b[4:])
	if uint64(u32(rest)) != uint64(len(rest)-4) {
		return &PayloadError{t, reasonCount}
	}
	r.ExitCode = int32(u32(b))
	r.Stdout = stdout
	r.Stderr, _ = cutText(rest)
	return nil
}

// ChunkHeaderSize is the size of a stdout_chunk without its content, in bytes.
const ChunkHeaderSize = HeaderSize + 4

// AppendStdoutChunkHead appends a stdout_chunk without its n bytes of content.
func AppendStdoutChunkHead(dst []byte, pid uint32, n int) []byte {
	return appendU32(AppendHeader(dst, TypeStdoutChunk, 0, 4+n), pid)
}

// ParseStdoutChunk parses the whole payload of a stdout_chunk; data aliases it.
func ParseStdoutChunk(payload []byte) (pid uint32, data []byte, err error) {
	if len(payload) < 4 {
		return 0, nil, &PayloadError{TypeStdoutChunk, reasonShort}
	}
	return u32(payload), payload[4:], nil
}

// AppendSpawnResult appends a spawn_watch_result.
func AppendSpawnResult(dst []byte, seq uint32, pid uint32) []byte {
	return appendU32(AppendHeader(dst, TypeSpawnResult, seq, 4), pid)
}

// ParseSpawnResult parses the whole payload of a spawn_watch_result.
func ParseSpawnResult(payload []byte) (pid uint32, err error) {
	switch {
	case len(payload) < 4:
		return 0, &PayloadError{TypeSpawnResult, reasonShort}
	case len(payload) > 4:
		return 0, &PayloadError{TypeSpawnResult, reasonLong}
	}
	return u32(payload), nil
}
