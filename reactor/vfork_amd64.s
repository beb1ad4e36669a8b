#include "go_asm.h"
#include "textflag.h"

// func vfork(a *vforkArgs) int
//
// BX is the arguments throughout: a system call changes no register but AX, CX and R11. The child is on the parent's stack, so it
// neither calls nor pushes anything.
TEXT ·vfork(SB), NOSPLIT, $0-16
	MOVQ	a+0(FP), BX

	MOVQ	$2, DI			// SIG_SETMASK
	LEAQ	vforkArgs_all(BX), SI
	LEAQ	vforkArgs_mask(BX), DX
	MOVQ	$8, R10
	MOVQ	$14, AX			// rt_sigprocmask
	SYSCALL

	LEAQ	vforkArgs_pidfd(BX), AX
	MOVQ	AX, (vforkArgs_clone+cloneArgs_pidfd)(BX)
	LEAQ	vforkArgs_clone(BX), DI
	MOVQ	$cloneArgs__size, SI
	MOVQ	$435, AX		// clone3
	SYSCALL
	TESTQ	AX, AX
	JEQ	child

	MOVQ	AX, ret+8(FP)
	MOVQ	$2, DI			// SIG_SETMASK
	LEAQ	vforkArgs_mask(BX), SI
	MOVQ	$0, DX
	MOVQ	$8, R10
	MOVQ	$14, AX			// rt_sigprocmask
	SYSCALL
	RET

child:
	MOVQ	$0, DI
	MOVQ	$0, SI
	MOVQ	$109, AX		// setpgid
	SYSCALL
	TESTQ	AX, AX
	JNE	fail

	MOVQ	$0, SI			// the new descriptor: 0, 1, 2
dup:
	MOVQ	vforkArgs_files(BX)(SI*8), DI
	CMPQ	DI, SI
	JEQ	next
	MOVQ	$0, DX
	MOVQ	$292, AX		// dup3
	SYSCALL
	CMPQ	AX, SI
	JNE	fail
next:
	INCQ	SI
	CMPQ	SI, $3
	JNE	dup

	MOVQ	vforkArgs_limit(BX), DX
	TESTQ	DX, DX
	JEQ	exec
	MOVQ	$0, DI
	MOVQ	$7, SI			// RLIMIT_NOFILE
	MOVQ	$0, R10
	MOVQ	$302, AX		// prlimit64
	SYSCALL
	TESTQ	AX, AX
	JNE	fail

exec:
	MOVQ	$2, DI			// SIG_SETMASK
	LEAQ	vforkArgs_none(BX), SI
	MOVQ	$0, DX
	MOVQ	$8, R10
	MOVQ	$14, AX			// rt_sigprocmask
	SYSCALL
	MOVQ	vforkArgs_path(BX), DI
	MOVQ	vforkArgs_argv(BX), SI
	MOVQ	vforkArgs_envv(BX), DX
	MOVQ	$59, AX			// execve
	SYSCALL

fail:
	MOVQ	AX, vforkArgs_err(BX)
exit:
	MOVQ	$127, DI
	MOVQ	$231, AX		// exit_group
	SYSCALL
	JMP	exit
