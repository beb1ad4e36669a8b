package sysinit

// parseUint parses digits of a base up to 10. Package strconv's own has errors, whose words bring
// 18 kB for quotes.
func parseUint(text string, base, most uint64) (n uint64, ok bool) {
	for i := range len(text) {
		digit := uint64(text[i]) - '0'
		if digit >= base || n > (most-digit)/base {
			return 0, false
		}
		n = n*base + digit
	}
	return n, text != ""
}
