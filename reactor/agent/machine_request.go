package agent

import "wick/framing"

const machineFeatures framing.Features = 0

func (c *conn) machineRequest(p *framing.Part) bool { return false }

// epoch is how many restores of the machine the agent knows of.
func (a *Agent) epoch() uint64 { return 0 }

// addFacts says what the agent and its machine are.
func (a *Agent) addFacts(f *framing.Facts) {}
