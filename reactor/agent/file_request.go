package agent

import "wick/framing"

const fileFeatures framing.Features = 0

func (c *conn) fileRequest(p *framing.Part) bool { return false }
