package agent

import "wick/framing"

const fileFeatures = framing.FeatureFiles | framing.FeatureCopies

// fileRequest handles a request about files, and reports whether it is one.
func (c *conn) fileRequest(p *framing.Part) bool {
	var handle func(*conn, *framing.Part) error
	switch p.Type {
	case framing.TypeRead:
		handle = (*conn).readFile
	case framing.TypeWrite:
		handle = (*conn).writeFile
	case framing.TypeStat:
		handle = (*conn).statFile
	case framing.TypeList:
		handle = (*conn).listFiles
	case framing.TypeChange:
		handle = (*conn).changeFile
	default:
		return false
	}
	c.heavy++ // a disk may have to be asked
	c.agent.garbage.Collect(2*fileGarbage + 4*len(p.Data))
	if err := handle(c, p); err != nil {
		c.replyError(p.Seq, err.Error())
	}
	return true
}

// mayWrite reports whether a file may be written now, and ends an operation that asks to with EBUSY if not.
func (c *conn) mayWrite(seq uint32) bool {
	if !c.agent.isFrozen() {
		return true
	}
	c.done(seq, 0, errFrozen)
	return false
}
