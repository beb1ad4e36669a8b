#include "go_asm.h"
#include "textflag.h"

// func vfork(a *vforkArgs) int
//
// R19 is the arguments throughout: a system call changes no register but R0. See vfork_amd64.s.
TEXT ·vfork(SB), NOSPLIT, $0-16
	MOVD	a+0(FP), R19

	MOVD	$2, R0			// SIG_SETMASK
	ADD	$vforkArgs_all, R19, R1
	ADD	$vforkArgs_mask, R19, R2
	MOVD	$8, R3
	MOVD	$135, R8		// rt_sigprocmask
	SVC

	ADD	$vforkArgs_pidfd, R19, R0
	MOVD	R0, (vforkArgs_clone+cloneArgs_pidfd)(R19)
	ADD	$vforkArgs_clone, R19, R0
	MOVD	$cloneArgs__size, R1
	MOVD	$435, R8		// clone3
	SVC
	CBZ	R0, child

	MOVD	R0, ret+8(FP)
	MOVD	$2, R0			// SIG_SETMASK
	ADD	$vforkArgs_mask, R19, R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8		// rt_sigprocmask
	SVC
	RET

child:
	MOVD	$0, R0
	MOVD	$0, R1
	MOVD	$154, R8		// setpgid
	SVC
	CBNZ	R0, fail

	MOVD	$0, R1			// the new descriptor: 0, 1, 2
	ADD	$vforkArgs_files, R19, R20
dup:
	MOVD	(R20)(R1<<3), R0
	CMP	R0, R1
	BEQ	next
	MOVD	$0, R2
	MOVD	$24, R8			// dup3
	SVC
	CMP	R0, R1
	BNE	fail
next:
	ADD	$1, R1
	CMP	$3, R1
	BNE	dup

	MOVD	vforkArgs_limit(R19), R2
	CBZ	R2, exec
	MOVD	$0, R0
	MOVD	$7, R1			// RLIMIT_NOFILE
	MOVD	$0, R3
	MOVD	$261, R8		// prlimit64
	SVC
	CBNZ	R0, fail

exec:
	MOVD	$2, R0			// SIG_SETMASK
	ADD	$vforkArgs_none, R19, R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8		// rt_sigprocmask
	SVC
	MOVD	vforkArgs_path(R19), R0
	MOVD	vforkArgs_argv(R19), R1
	MOVD	vforkArgs_envv(R19), R2
	MOVD	$221, R8		// execve
	SVC

fail:
	MOVD	R0, vforkArgs_err(R19)
exit:
	MOVD	$127, R0
	MOVD	$94, R8			// exit_group
	SVC
	B	exit
