package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
)

// features are what this agent has of the extension.
func (a *Agent) features() framing.Features {
	return processFeatures | fileFeatures | a.machineFeatures()
}

// machineFeatures are those that depend on the machine, and on what the agent may do to it.
func (a *Agent) machineFeatures() framing.Features {
	f := framing.FeatureStats
	var st unix.Stat_t
	if unix.Stat(pressureFiles[framing.PressureMemory], &st) == nil {
		f |= framing.FeaturePressure
	}
	if a.root {
		f |= framing.FeatureRestore
	}
	if a.canFreeze() {
		f |= framing.FeatureFreeze
	}
	if a.cfg.Init {
		f |= framing.FeaturePower
	}
	return f
}

// machineRequest handles what is about the machine as a whole, and reports whether it is.
func (c *conn) machineRequest(p *framing.Part) bool {
	var handle func(*framing.Part) error
	switch p.Type {
	case framing.TypeStats:
		handle = c.stats
	case framing.TypePressure:
		handle = c.pressure
	case framing.TypeRestore:
		handle = c.restore
	case framing.TypeFreeze:
		handle = c.freeze
	case framing.TypeThaw:
		handle = c.thaw
	case framing.TypePower:
		handle = c.powerDown
	default:
		return false
	}
	if !p.First() {
		// It came in pieces, of which this is the last.
		c.replyError(p.Seq, p.Type.String()+": payload is too long")
	} else if err := handle(p); err != nil {
		c.replyError(p.Seq, err.Error())
	}
	return true
}
