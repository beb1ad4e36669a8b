// Package budget is what the guest's programs may cost: constants, for tests alone. A change that costs more fails a test and is made
// cheaper, or raises a number here with a reason in its commit.
//
// What is measured is a little less; the rest is what differs from one kernel and one start to the next. Speed is in no budget: it would
// make tests depend on the machine. See package wick/bench for that.
package budget

// Binaries on amd64, as scripts/build makes them, in bytes. Before the protocol's extension they were 1,683,618 and 1,843,362, and it was to
// add 15 % at most: that would be 1,936,160 and 2,119,866. Since then came starts that the loop does not wait for, limits that
// follow the machine's memory, appends and streamed output, holes and attributes in copies, and the files that images lack.
const (
	AgentBinary = 1_995_000
	InitBinary  = 2_200_000
)

// An agent at a Unix socket, in kB and from /proc/PID/status. VmRSS is mostly the pages of the program's file that were ever needed. With them the
// kernel maps what it had read beside: 1.2 MB of the file as a rule, and 1.4 now and then.
const (
	IdleRSS       = 2200
	IdleAnon      = 780
	WorkedRSS     = 3450 // after commands, large outputs and large files
	PeakGrowth    = 1023 // by how much the largest output or file may raise VmHWM
	StreamGrowth  = 512  // by how much a stream through a process may, however long
	Threads       = 5    // main, the runtime's monitor, two for collections, one to come and go
	IdleSwitches  = 0    // context switches while nothing happens
	IdleCPU       = 0    // CPU time, in microseconds, while nothing happens
	InitRSS       = 2300 // process 1 of a machine with 128 MiB: what of its file the kernel had read when it was needed is mapped with it, 1.0 to 2.15 MB in all
	InitAnon      = 780
	InitWorkedRSS = 3000 // process 1 after some commands, extension and all
	InitThreads   = 5
)

// Allocations for each operation in a connection that is open.
const (
	PingAllocs  = 0
	ExecAllocs  = 10
	ExecBytes   = 1400 // of the heap; agent.collect counts on 1 KiB, and what a list shows of a command
	WriteAllocs = 14
)
