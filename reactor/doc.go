// Package reactor is an epoll loop for one goroutine. It has descriptors, byte streams, listeners,
// dials, timers, signals and children. It does not know what a stream carries.
//
// A program makes a [Loop], attaches handlers to it and calls [Loop.Run]. Run calls the handlers
// one at a time, on its own goroutine, and none of them may block. The package takes no lock,
// starts no goroutine and uses no channel. None of its methods may be called from another
// goroutine.
//
// # A turn
//
// Run repeats the turn until [Loop.Stop]:
//
//  1. arm: pass the interests that changed to epoll;
//  2. wait: call epoll_wait, until there is an event or the next timer is due;
//  3. dispatch: pass each event to the handler of its descriptor;
//  4. expire: run the timers that were due when the wait ended;
//  5. release: close the descriptors that were closed during the turn, and free their slots.
//
// A handler does a bounded amount of work and returns. The handlers of this package read at most
// [BufferSize] bytes per descriptor and turn, and reap at most [reapBatch] children. If work is
// left, the next wait returns at once, because epoll is level-triggered.
//
// # Descriptors
//
// A [Descriptor] occupies a slot, and each slot has a generation. Epoll carries both with every
// event. Closing a descriptor raises the generation at once, so an event that epoll_wait has
// already returned for it is dropped. The kernel's descriptor is closed at the end of the turn.
// Until then its number cannot be reused by a file that the same batch of events could be mistaken
// for.
//
// A handler never calls epoll_ctl. It states its interest with [Descriptor.Want], as a function of
// its own state. The loop derives the call, once per turn, and only if the interest differs. If
// epoll refuses because it has no memory or no watch left, the loop retries in every turn, and
// after 100 ms at the latest. The handler is not told.
//
// # Signals, and why not signalfd
//
// Signals that signalfd(2) is to deliver must be blocked in every thread. The Go runtime unblocks
// SIGHUP, SIGINT, SIGQUIT, SIGTERM and SIGCHLD in every thread it starts (runtime.minitSignalMask),
// whatever mask it inherited. One of its threads then takes the signal, nearly always before the
// signalfd is read. The signal is lost, or ends the process. A test in this package shows it.
//
// os/signal works, but needs a goroutine and two threads. [ClaimSignals] replaces the runtime's
// handler by a dozen instructions that set a bit and write to an eventfd, which is in the loop's
// epoll set. The runtime must keep its handlers of faults such as SIGSEGV. [ShieldFaults] makes
// them ignore a signal that another process sent.
//
// # Children
//
// [Loop.Spawn] forks a child and does not wait for it. The child makes a list of system calls, and
// the last one executes the program. A signal, a lease, a file system or a frozen cgroup may hold
// it up for any time. Its code is one assembly function that uses no stack, so it needs none of
// this process's memory except a copy of the list ([LeaveOut]). A child of process 1 needs no copy
// either ([Loop.Share]). The child first closes every descriptor that it is not to have. It reports
// a step that fails in shared memory, and [Child.Failure] returns that.
//
// Each [Child] has a pidfd in the epoll set. When it becomes readable the child is reaped. Only
// [Loop.ReapOrphans] waits for children too. An init calls it on SIGCHLD. It reaps every child and
// passes the status of a [Child] to its handler. Both run on the loop's goroutine, so neither can
// steal a status from the other.
package reactor
