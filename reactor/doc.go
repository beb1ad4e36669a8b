// Package reactor is one epoll loop on one goroutine: descriptors, byte streams, listeners, dials, timers, signals
// and children. It knows nothing of messages.
//
// A program makes a [Loop], attaches handlers to it and calls [Loop.Run]. Everything then happens on the goroutine
// that called Run: handlers are called one at a time, none may block, and nothing in this package takes a lock,
// starts a goroutine or uses a channel. No method may be called from another goroutine.
//
// # A turn
//
// Run repeats the turn until [Loop.Stop]:
//
//  1. arm: the interest of every descriptor that changed is given to epoll;
//  2. wait: epoll_wait, until an event or the next timer;
//  3. dispatch: each event goes to its descriptor's handler;
//  4. expire: the timers that were due when the wait ended;
//  5. release: descriptors closed during the turn are closed in the kernel, and their slots are free again.
//
// A handler does a bounded piece of work and returns: the package's own read at most [BufferSize] bytes per descriptor
// and turn and reap at most [reapBatch] children. What is left makes the next wait return at once, because epoll is used
// level-triggered.
//
// # Descriptors
//
// A [Descriptor] is a slot with a generation, and {slot, generation} is what epoll carries for it. Closing it takes
// it out of its slot and raises the generation at once, so that an event which the same epoll_wait had already
// fetched finds nobody; the number itself is closed at the end of the turn, so that it cannot come back, as another
// file, within the batch that still speaks of the old one.
//
// A handler never calls epoll_ctl. It states what the descriptor wants ([Descriptor.Want]) as a function of its own
// state, and the loop derives the call, once per turn and only if the outcome differs. If epoll has no
// memory or no watch left, the loop tries again in every turn, and after 100 ms at the latest; the handler hears nothing of it.
//
// # Signals, and why not signalfd
//
// signalfd(2) needs its signals blocked in every thread. The Go runtime unblocks SIGHUP, SIGINT, SIGQUIT, SIGTERM and SIGCHLD
// on every thread it starts, whatever mask it inherited (runtime.minitSignalMask), so one of its threads takes the signal, nearly
// always before the descriptor is read, and it is lost, or ends the process; a test in this package keeps the proof. os/signal works but needs a
// goroutine and two threads. [ClaimSignals] replaces the runtime's handler by a dozen instructions that set a bit
// and write an eventfd: what a signalfd would have been, a descriptor in the same epoll set. [ShieldFaults] is for the signals that the runtime
// must keep: of SIGSEGV and its like an init hears only what the kernel says of the init itself.
//
// # Children
//
// [Loop.Spawn] forks a child that makes a list of system calls, of which the last executes the program, and does not wait for it: a signal, a
// lease, a file system or a frozen cgroup may hold the child up for as long as they like. The child is written in one function of assembly that uses
// no stack, so it needs none of this process's memory but a copy of the list ([LeaveOut]). It closes every descriptor but its own first. A step that
// fails is reported in memory that both share, and is the child's [Child.Failure].
// A [Child] is spawned with a pidfd, which is in the epoll set until it is readable: then the child is reaped. Nothing else
// waits for it, except [Loop.ReapOrphans], which an init calls on SIGCHLD: it reaps everything, and hands the status of
// an own child to its handler. Both run on the loop's goroutine, so neither can steal from the other.
package reactor
