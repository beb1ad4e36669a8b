// Package strconv has this file of the standard library's replaced in the guest's programs, which
// print no floating-point numbers. The runtime would, if one was the value of a panic, and links
// 45 kB for that.
package strconv

const (
	lowerhex = "0123456789abcdef"
	upperhex = "0123456789ABCDEF"
)

type floatInfo struct {
	mantbits, expbits uint
	bias              int
}

const (
	float32MantBits = 23
	float32ExpBits  = 8
	float32Bias     = -127
	float64MantBits = 52
	float64ExpBits  = 11
	float64Bias     = -1023
)

var (
	float32info = floatInfo{float32MantBits, float32ExpBits, float32Bias}
	float64info = floatInfo{float64MantBits, float64ExpBits, float64Bias}
)

// FormatFloat returns the whole part of f.
func FormatFloat(f float64, fmt byte, prec, bitSize int) string {
	return string(AppendFloat(nil, f, fmt, prec, bitSize))
}

// AppendFloat appends the whole part of f to dst.
func AppendFloat(dst []byte, f float64, _ byte, _, _ int) []byte {
	return AppendInt(dst, int64(f), 10)
}
