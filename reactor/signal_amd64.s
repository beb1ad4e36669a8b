#include "textflag.h"

// The kernel calls signalHandler with the signal number in DI, on the signal stack. It restores every
// register on return, so none has to be saved. The handler is safe at any instant, because it touches
// two words and makes one system call.
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

// faultHandler is called as signalHandler is, with the siginfo_t in SI. A positive si_code means that
// the kernel reports a fault. The runtime's handler gets it, with every register as it is. A signal
// from a process has another si_code and is ignored.
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
