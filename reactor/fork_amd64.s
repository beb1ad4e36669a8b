#include "go_asm.h"
#include "textflag.h"

// func fork(b *forkBlock) int
//
// BX points to the block throughout, because a system call changes only AX, CX and R11. The child uses
// no stack, because LeaveOut may have kept it from the child.
TEXT ·fork(SB), NOSPLIT, $0-16
	MOVQ	b+0(FP), BX

	MOVQ	$2, DI			// SIG_SETMASK
	LEAQ	forkBlock_all(BX), SI
	LEAQ	forkBlock_mask(BX), DX
	MOVQ	$8, R10
	MOVQ	$14, AX			// rt_sigprocmask
	SYSCALL

	MOVQ	forkBlock_join(BX), DI
	TESTQ	DI, DI
	JEQ	forks
	MOVQ	$0x20000000, SI		// CLONE_NEWPID
	MOVQ	$308, AX		// setns
	SYSCALL
	TESTQ	AX, AX
	JNE	parent
	MOVQ	$1, forkBlock_entered(BX)

forks:
	LEAQ	forkBlock_call(BX), R12
	MOVQ	step_number(R12), AX
	MOVQ	(step_args+0)(R12), DI
	MOVQ	(step_args+8)(R12), SI
	MOVQ	(step_args+16)(R12), DX
	MOVQ	(step_args+24)(R12), R10
	MOVQ	(step_args+32)(R12), R8
	SYSCALL
	TESTQ	AX, AX
	JEQ	child

parent:
	MOVQ	AX, ret+8(FP)
	CMPQ	forkBlock_entered(BX), $0
	JEQ	unmask
leave:
	MOVQ	forkBlock_self(BX), DI
	MOVQ	$0x20000000, SI		// CLONE_NEWPID
	MOVQ	$308, AX		// setns
	SYSCALL
	TESTQ	AX, AX
	JNE	leave			// the kernel had no memory
unmask:
	MOVQ	$2, DI			// SIG_SETMASK
	LEAQ	forkBlock_mask(BX), SI
	MOVQ	$0, DX
	MOVQ	$8, R10
	MOVQ	$14, AX			// rt_sigprocmask
	SYSCALL
	RET

child:
	MOVQ	forkBlock_first(BX), R12
next:
	MOVQ	step_number(R12), AX
	MOVQ	(step_args+0)(R12), DI
	MOVQ	(step_args+8)(R12), SI
	MOVQ	(step_args+16)(R12), DX
	MOVQ	(step_args+24)(R12), R10
	MOVQ	(step_args+32)(R12), R8
	SYSCALL
	CMPQ	AX, $-4095
	JCS	success			// unsigned less
	NEGQ	AX
	CMPQ	AX, $64
	JCC	fail
	MOVQ	step_pass(R12), DX
	BTQ	AX, DX
	JCC	fail
	JMP	done
success:
	MOVQ	step_save(R12), DX
	TESTQ	DX, DX
	JEQ	skips
	MOVQ	AX, (DX)
skips:
	ADDQ	step_skip(R12), R12
done:
	ADDQ	$step__size, R12
	JMP	next

fail:
	MOVQ	forkBlock_report(BX), DI
	MOVQ	step_stage(R12), SI
	MOVQ	SI, report_stage(DI)
	MOVQ	AX, report_errno(DI)
	MOVQ	$127, DI
	MOVQ	$231, AX		// exit_group
	SYSCALL
	UNDEF				// a seccomp filter denies the exit
