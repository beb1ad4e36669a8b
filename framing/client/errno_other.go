//go:build !linux

package client

import "syscall"

// guestErrno returns this system's error number for one of the guest, whose numbers are those of
// Linux. A number without a counterpart here is returned with unknownErrno added.
func guestErrno(n uint32) syscall.Errno {
	if n == 0 || int(n) < len(linuxErrnos) && linuxErrnos[n] != 0 {
		return linuxErrnos[n]
	}
	return unknownErrno + syscall.Errno(n)
}

// unknownErrno is more than any error number of this system.
const unknownErrno syscall.Errno = 1 << 30

// linuxErrnos has the counterparts of Linux's error numbers, which are the indexes.
var linuxErrnos = [...]syscall.Errno{
	1:   syscall.EPERM,
	2:   syscall.ENOENT,
	3:   syscall.ESRCH,
	4:   syscall.EINTR,
	5:   syscall.EIO,
	6:   syscall.ENXIO,
	7:   syscall.E2BIG,
	8:   syscall.ENOEXEC,
	9:   syscall.EBADF,
	10:  syscall.ECHILD,
	11:  syscall.EAGAIN,
	12:  syscall.ENOMEM,
	13:  syscall.EACCES,
	14:  syscall.EFAULT,
	15:  syscall.ENOTBLK,
	16:  syscall.EBUSY,
	17:  syscall.EEXIST,
	18:  syscall.EXDEV,
	19:  syscall.ENODEV,
	20:  syscall.ENOTDIR,
	21:  syscall.EISDIR,
	22:  syscall.EINVAL,
	23:  syscall.ENFILE,
	24:  syscall.EMFILE,
	25:  syscall.ENOTTY,
	26:  syscall.ETXTBSY,
	27:  syscall.EFBIG,
	28:  syscall.ENOSPC,
	29:  syscall.ESPIPE,
	30:  syscall.EROFS,
	31:  syscall.EMLINK,
	32:  syscall.EPIPE,
	33:  syscall.EDOM,
	34:  syscall.ERANGE,
	35:  syscall.EDEADLK,
	36:  syscall.ENAMETOOLONG,
	37:  syscall.ENOLCK,
	38:  syscall.ENOSYS,
	39:  syscall.ENOTEMPTY,
	40:  syscall.ELOOP,
	42:  syscall.ENOMSG,
	43:  syscall.EIDRM,
	60:  syscall.ENOSTR,
	61:  syscall.ENODATA,
	62:  syscall.ETIME,
	63:  syscall.ENOSR,
	66:  syscall.EREMOTE,
	67:  syscall.ENOLINK,
	71:  syscall.EPROTO,
	72:  syscall.EMULTIHOP,
	74:  syscall.EBADMSG,
	75:  syscall.EOVERFLOW,
	84:  syscall.EILSEQ,
	87:  syscall.EUSERS,
	88:  syscall.ENOTSOCK,
	89:  syscall.EDESTADDRREQ,
	90:  syscall.EMSGSIZE,
	91:  syscall.EPROTOTYPE,
	92:  syscall.ENOPROTOOPT,
	93:  syscall.EPROTONOSUPPORT,
	94:  syscall.ESOCKTNOSUPPORT,
	95:  syscall.ENOTSUP,
	96:  syscall.EPFNOSUPPORT,
	97:  syscall.EAFNOSUPPORT,
	98:  syscall.EADDRINUSE,
	99:  syscall.EADDRNOTAVAIL,
	100: syscall.ENETDOWN,
	101: syscall.ENETUNREACH,
	102: syscall.ENETRESET,
	103: syscall.ECONNABORTED,
	104: syscall.ECONNRESET,
	105: syscall.ENOBUFS,
	106: syscall.EISCONN,
	107: syscall.ENOTCONN,
	108: syscall.ESHUTDOWN,
	109: syscall.ETOOMANYREFS,
	110: syscall.ETIMEDOUT,
	111: syscall.ECONNREFUSED,
	112: syscall.EHOSTDOWN,
	113: syscall.EHOSTUNREACH,
	114: syscall.EALREADY,
	115: syscall.EINPROGRESS,
	116: syscall.ESTALE,
	122: syscall.EDQUOT,
	125: syscall.ECANCELED,
	130: syscall.EOWNERDEAD,
	131: syscall.ENOTRECOVERABLE,
}
