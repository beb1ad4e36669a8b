#include "textflag.h"

// The kernel calls this with the signal number in DI, on the signal stack. Every register is restored on return, so
// none has to be kept. It is safe at any instant: it touches two words and makes one system call.
TEXT ·signalHandler(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ	DI, CX
	DECQ	CX
	MOVQ	$1, AX
	SHLQ	CX, AX
	LOCK
	ORQ	AX, ·pending(SB)
	MOVL	·wakeFD(SB), DI
	LEAQ	·one(SB), SI
	MOVL	$8, DX
	MOVL	$1, AX		// write
	SYSCALL
	RET			// to the restorer

TEXT ·signalHandlerPC(SB), NOSPLIT, $0-8
	LEAQ	·signalHandler(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// faultHandler is called as signalHandler is, with the siginfo_t in SI. Its si_code is positive if the kernel speaks of a fault: that is
// the runtime's, to which every register is handed on as it is. From a process it is none, and the signal is nothing.
TEXT ·faultHandler(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	CMPL	8(SI), $0
	JLE	sent
	MOVQ	·runtimeHandler(SB), AX
	JMP	AX
sent:
	RET			// to the restorer

TEXT ·faultHandlerPC(SB), NOSPLIT, $0-8
	LEAQ	·faultHandler(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
