package client

import "syscall"

// worthRetryingHere reports whether an error of Windows' sockets may be over later.
func worthRetryingHere(errno syscall.Errno) bool {
	switch errno {
	case 10050, 10051, 10054, 10060, 10061, 10065: // WSAENETDOWN, NETUNREACH, CONNRESET, TIMEDOUT, CONNREFUSED, HOSTUNREACH
		return true
	}
	return false
}
