package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// sizeUnits are the units of a size, each 1024 times the one before.
const sizeUnits = "bkmgtp"

// ParseSize parses a number of bytes such as 128M, 1.5G, 64MiB or 512kb. plain is how many bytes a
// number without a unit stands for.
func ParseSize(s string, plain int64) (int64, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	unit := float64(plain)
	if name := text[len(digits):]; name != "" {
		power := strings.Index(sizeUnits, name[:1])
		if rest := name[1:]; power < 0 || rest != "" && (power == 0 || rest != "b" && rest != "ib") {
			power = -1
		}
		if power < 0 {
			return 0, fmt.Errorf("%q is not a size like 128M or 1.5G", s)
		}
		unit = math.Pow(1024, float64(power))
	}
	digits = strings.TrimSpace(digits)
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" || n*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size like 128M or 1.5G", s)
	}
	return int64(math.Ceil(n * unit)), nil
}

// mibValue is a flag for a size.
type mibValue struct {
	mib   *int
	plain int64 // the bytes of a number without a unit
}

// MiB returns the flag for a size that sets mib to a number of MiB, rounded up. plain is how many
// bytes a number without a unit stands for.
func MiB(mib *int, plain int64) pflag.Value { return mibValue{mib, plain} }

func (v mibValue) Set(s string) error {
	n, err := ParseSize(s, v.plain)
	if err != nil {
		return err
	}
	if v.plain == 1 && n > 0 && n < 1<<20 {
		return fmt.Errorf("%s is %d bytes; give a unit, as in %[1]sM", s, n)
	}
	if n > math.MaxInt32<<20 {
		return fmt.Errorf("%s is too much", s)
	}
	*v.mib = int((n + 1<<20 - 1) >> 20)
	return nil
}

func (v mibValue) Type() string { return "size" }

func (v mibValue) String() string {
	if v.mib == nil || *v.mib == 0 {
		return ""
	}
	return strconv.Itoa(*v.mib) + "M"
}

// ParseDuration parses a time. A number without a unit is one of seconds, as docker takes it.
func ParseDuration(s string) (time.Duration, error) {
	if strings.Trim(s, "0123456789.") == "" && s != "" {
		s += "s"
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time like 30s, 1m30s, or 30 for seconds", s)
	}
	return d, nil
}

// timeValue is a flag for a time.
type timeValue struct{ d *time.Duration }

// Time returns the flag for a time that sets d, whose default is usual.
func Time(d *time.Duration, usual time.Duration) pflag.Value {
	*d = usual
	return timeValue{d}
}

func (v timeValue) Set(s string) (err error) {
	d, err := ParseDuration(s)
	if err == nil {
		*v.d = d
	}
	return err
}

func (v timeValue) Type() string { return "duration" }

func (v timeValue) String() string {
	if v.d == nil || *v.d == 0 {
		return "0"
	}
	return v.d.String()
}

// secondsValue is a flag for whole seconds.
type secondsValue struct{ n *int }

// Seconds returns the flag for whole seconds that sets n.
func Seconds(n *int) pflag.Value { return secondsValue{n} }

func (v secondsValue) Set(s string) error {
	if n, err := strconv.Atoi(s); err == nil {
		*v.n = n // it may be negative, which the command judges
		return nil
	}
	d, err := ParseDuration(s)
	if err == nil {
		*v.n = int(math.Ceil(d.Seconds()))
	}
	return err
}

func (v secondsValue) Type() string { return "int" }

func (v secondsValue) String() string {
	if v.n == nil {
		return "0"
	}
	return strconv.Itoa(*v.n)
}

// cpusValue is a flag for a number of processors.
type cpusValue struct{ n *int }

// CPUs returns the flag for a number of processors that sets n. A fraction is rounded up,
// because a machine has whole ones.
func CPUs(n *int) pflag.Value { return cpusValue{n} }

func (v cpusValue) Set(s string) error {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(math.Abs(n) < math.MaxInt16) {
		return fmt.Errorf("%q is not a number of processors", s)
	}
	*v.n = int(math.Ceil(n))
	return nil
}

func (v cpusValue) Type() string { return "int" }

func (v cpusValue) String() string {
	if v.n == nil {
		return "0"
	}
	return strconv.Itoa(*v.n)
}
