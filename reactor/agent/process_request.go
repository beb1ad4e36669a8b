package agent

import "wick/framing"

const processFeatures framing.Features = 0

func (c *conn) processRequest(p *framing.Part) bool { return false }
