#include "go_asm.h"
#include "textflag.h"

// func fork(b *forkBlock) int
//
// R19 points to the block throughout, because a system call changes only R0. See fork_amd64.s.
TEXT ·fork(SB), NOSPLIT, $0-16
	MOVD	b+0(FP), R19

	MOVD	$2, R0			// SIG_SETMASK
	ADD	$forkBlock_all, R19, R1
	ADD	$forkBlock_mask, R19, R2
	MOVD	$8, R3
	MOVD	$135, R8		// rt_sigprocmask
	SVC

	MOVD	forkBlock_join(R19), R0
	CBZ	R0, forks
	MOVD	$0x20000000, R1		// CLONE_NEWPID
	MOVD	$268, R8		// setns
	SVC
	CBNZ	R0, parent
	MOVD	$1, R1
	MOVD	R1, forkBlock_entered(R19)

forks:
	ADD	$forkBlock_call, R19, R20
	MOVD	step_number(R20), R8
	MOVD	(step_args+0)(R20), R0
	MOVD	(step_args+8)(R20), R1
	MOVD	(step_args+16)(R20), R2
	MOVD	(step_args+24)(R20), R3
	MOVD	(step_args+32)(R20), R4
	SVC
	CBZ	R0, child

parent:
	MOVD	R0, ret+8(FP)
	MOVD	forkBlock_entered(R19), R1
	CBZ	R1, unmask
leave:
	MOVD	forkBlock_self(R19), R0
	MOVD	$0x20000000, R1		// CLONE_NEWPID
	MOVD	$268, R8		// setns
	SVC
	CBNZ	R0, leave		// the kernel had no memory
unmask:
	MOVD	$2, R0			// SIG_SETMASK
	ADD	$forkBlock_mask, R19, R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8		// rt_sigprocmask
	SVC
	RET

child:
	MOVD	forkBlock_first(R19), R20
next:
	MOVD	step_number(R20), R8
	MOVD	(step_args+0)(R20), R0
	MOVD	(step_args+8)(R20), R1
	MOVD	(step_args+16)(R20), R2
	MOVD	(step_args+24)(R20), R3
	MOVD	(step_args+32)(R20), R4
	SVC
	CMN	$4095, R0
	BCC	success
	NEG	R0, R0
	CMP	$64, R0
	BHS	fail
	MOVD	$1, R1
	LSL	R0, R1, R1
	MOVD	step_pass(R20), R2
	TST	R1, R2
	BEQ	fail
	B	done
success:
	MOVD	step_save(R20), R1
	CBZ	R1, skips
	MOVD	R0, (R1)
skips:
	MOVD	step_skip(R20), R1
	ADD	R1, R20, R20
done:
	ADD	$step__size, R20, R20
	B	next

fail:
	MOVD	forkBlock_report(R19), R1
	MOVD	step_stage(R20), R2
	MOVD	R2, report_stage(R1)
	MOVD	R0, report_errno(R1)
	MOVD	$127, R0
	MOVD	$94, R8			// exit_group
	SVC
	UNDEF				// a seccomp filter denies the exit
