#include "textflag.h"

// The kernel calls signalHandler with the signal number in R0, on the signal stack. It restores every
// register on return, so only the link register has to be kept, which holds the restorer. See
// signal_amd64.s.
TEXT ·signalHandler(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	SUB	$1, R0, R1
	MOVD	$1, R2
	LSL	R1, R2, R2
	MOVD	$·pending(SB), R3
again:
	LDAXR	(R3), R4
	ORR	R2, R4, R4
	STLXR	R4, (R3), R5
	CBNZ	R5, again
	MOVW	·wakeFD(SB), R0
	MOVD	$·one(SB), R1
	MOVD	$8, R2
	MOVD	$64, R8		// write
	SVC
	RET			// to the restorer

TEXT ·signalHandlerPC(SB), NOSPLIT, $0-8
	MOVD	$·signalHandler(SB), R0
	MOVD	R0, ret+0(FP)
	RET

// faultHandler is called as signalHandler is, with the siginfo_t in R1. See signal_amd64.s.
TEXT ·faultHandler(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVW	8(R1), R3
	CMPW	$0, R3
	BLE	sent
	MOVD	·runtimeHandler(SB), R3
	JMP	(R3)
sent:
	RET			// to the restorer

TEXT ·faultHandlerPC(SB), NOSPLIT, $0-8
	MOVD	$·faultHandler(SB), R0
	MOVD	R0, ret+0(FP)
	RET
