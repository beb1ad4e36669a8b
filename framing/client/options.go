package client

// An Option changes how [Dial] or [Listen] behaves, or the clients they make.
type Option func(*options)

type options struct {
	once    bool
	replace bool
	onExit  func(*Exit) bool
	onData  func(pid uint32, data []byte)
}

func collect(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithoutRetry makes Dial try once: if the guest is not there yet the error is returned at once. It
// does not affect the listening forms.
func WithoutRetry() Option { return func(o *options) { o.once = true } }

// WithReplace makes Listen take the path from a socket that has a listener. An agent started with
// --unix-socket listens if it finds no host. It notices that its socket was replaced, and connects.
// Without the option a live listener is an error, because it may be another host.
func WithReplace() Option { return func(o *options) { o.replace = true } }

// WithOnExit sets a function that is called for every process that exits, in the order of the
// exits. If f returns true the exit is not kept for a later [Client.WaitExit]. Calls that already
// wait get it in any case.
//
// f runs on the goroutine that reads from the guest. No reply arrives while it runs, so it must not
// wait for one.
func WithOnExit(f func(*Exit) (taken bool)) Option { return func(o *options) { o.onExit = f } }

// WithOnStdout sets a function that is called with the stdout of processes that [Client.Spawn] has
// started with Stream or Log. It gets the output in order, as it arrives, also of processes started
// on an earlier connection. Without the option it is dropped.
//
// data is valid until f returns. f runs on the goroutine that reads from the guest. Nothing is read
// while it runs, so the processes wait.
func WithOnStdout(f func(pid uint32, data []byte)) Option { return func(o *options) { o.onData = f } }
