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

// WithoutRetry makes Dial try once: a guest that is not there yet is an error at once. It means nothing to the forms
// that listen.
func WithoutRetry() Option { return func(o *options) { o.once = true } }

// WithReplace makes Listen take the socket's path from whoever listens there. An agent that was started with --unix-socket listens when it finds no
// host; it notices that its socket was replaced, and connects. Without the option a live listener is an error, for it may
// be another host.
func WithReplace() Option { return func(o *options) { o.replace = true } }

// WithOnExit has f called for every process that exits, in the order of the exits. If f returns true the exit is f's, and is not kept for a
// later [Client.WaitExit]; one that waits already gets it all the same.
//
// f runs on the goroutine that reads from the guest: while it runs no reply arrives, so it must not wait for one.
func WithOnExit(f func(*Exit) (taken bool)) Option { return func(o *options) { o.onExit = f } }

// WithOnStdout has f called with the stdout of processes that [Client.Spawn] has started with Stream or Log, as it comes and in its order, also of
// those that an earlier connection has started. Without the option it is dropped.
//
// data is valid until f returns. f runs on the goroutine that reads from the guest: while it runs nothing is read, so the processes wait.
func WithOnStdout(f func(pid uint32, data []byte)) Option { return func(o *options) { o.onData = f } }
