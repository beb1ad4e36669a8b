// Package budget limits what the guest's programs may cost, in constants for tests. A change that
// costs more fails a test. It is then made cheaper, or raises a number here with a reason in its
// commit.
//
// Measured values are a little lower; the rest allows for different kernels and starts. Speed has
// no budget, because it would make tests depend on the machine. Package wick/bench measures it.
package budget

// Binaries on amd64, as scripts/build makes them, in bytes. Before the protocol's extension they
// had 1,683,618 and 1,843,362. It was to add 15 % at most, which gives 1,936,160 and 2,119,866.
// These features came later: starts that the loop does not wait for, limits that follow the
// machine's memory, and appends and streamed output. So did holes and attributes in copies, and the
// files that images lack.
//
// Packages for the rooms of the agent cost 50 kB: longer names of functions, and methods that are
// not inlined across packages. Forwarding cost 61 kB, the network 53 kB and the workload 24 kB. In
// vm-init, layers, roots and a configuration cost 45 kB, and volumes 40 kB. Services, mounts by
// message, watches, clones and confinement cost 250 kB more in the agent and 405 kB in vm-init. A
// runtime without inlining saves 57 kB in each, and a standard library without what they do not use
// saves 230 kB: see scripts/build and scripts/_std.
const (
	AgentBinary = 2_200_000
	InitBinary  = 2_610_000
)

// An agent at a Unix socket, in kB of /proc/PID/status. VmRSS is mostly those pages of the
// program's file that were ever needed. The kernel also maps the pages that it had read beside
// them. These are mostly 1.2 MB of the file, and sometimes 1.4.
const (
	IdleRSS      = 1900
	IdleAnon     = 600  // with the runtime as it comes, 200 more on two processors
	WorkedRSS    = 3000 // after commands, large outputs and large files; as it comes, 750 more
	PeakGrowth   = 1023 // by how much the largest output or file may raise VmHWM
	StreamGrowth = 512  // by how much a stream through a process may raise it, however long
	Threads      = 1    // with the runtime as it comes, up to 5
	IdleSwitches = 0    // context switches while nothing happens
	IdleCPU      = 0    // CPU time, in microseconds, while nothing happens
	// process 1 of a machine with 128 MiB. The kernel maps the pages of its file that it has read
	// by then, 1.0 to 2.35 MB in all.
	InitRSS       = 2400
	InitAnon      = 700
	InitWorkedRSS = 3200 // process 1 after some commands, extension and all
	InitThreads   = 1
)

// Allocations for each operation on an open connection.
const (
	PingAllocs = 0
	ExecAllocs = 10
	// of the heap; agent.collect counts on 1 KiB, and on the listed facts of a command
	ExecBytes   = 1400
	WriteAllocs = 14
)
