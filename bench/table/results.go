package main

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// results are the figures by "BenchmarkX/n=8 unit" and agent, one for each round.
type results struct {
	rounds map[string]map[string][]float64
}

// parse adds the lines of go test's benchmarks and ignores others.
func (r *results) parse(text []byte) error {
	if r.rounds == nil {
		r.rounds = map[string]map[string][]float64{}
	}
	name := regexp.MustCompile(`^(Benchmark\S*?)/agent=(\w+)(/\S*?)?(?:-\d+)?$`)
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		m := name.FindStringSubmatch(fields[0])
		if m == nil {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			key := m[1] + m[3] + " " + fields[i+1]
			if r.rounds[key] == nil {
				r.rounds[key] = map[string][]float64{}
			}
			r.rounds[key][m[2]] = append(r.rounds[key][m[2]], v)
		}
	}
	return nil
}

// spread is the median of some values and the bounds of their middle half.
type spread struct{ low, median, high float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		x := q * float64(len(v)-1)
		i := int(x)
		if i+1 == len(v) {
			return v[i]
		}
		return v[i] + (x-float64(i))*(v[i+1]-v[i])
	}
	return spread{at(0.25), at(0.5), at(0.75)}
}

// ratio returns the ratio of two agents' figures within a round, over the rounds that both have.
func (r *results) ratio(key, agent, base string) (spread, bool) {
	a, b := r.rounds[key][agent], r.rounds[key][base]
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	if len(ratios) == 0 {
		return spread{}, false
	}
	return spreadOf(ratios), true
}

func (s spread) ratioText() string {
	return fmt.Sprintf("%s (%s–%s)", digits(s.median), digits(s.low), digits(s.high))
}

// digits formats a number with three significant digits.
func digits(v float64) string {
	if v == 0 {
		return "0"
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', max(0, min(decimals, 3)), 64)
}
