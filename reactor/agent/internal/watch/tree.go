package watch

import "wick/reactor/agent/internal/sys"

// node is a directory that is watched.
type node struct {
	wd   int32 // by which the kernel's events name it
	dead bool  // it is not watched any more
	// missed is the round of the watch in which something in the directory was not found.
	missed uint32
	parent *node // nil for the top
	child  *node // the first
	next   *node // of the same parent
	name   string
}

// nodeGarbage is what a node leaves when it goes, in bytes.
const nodeGarbage = 128

// each calls f for n and all nodes below it.
func (n *node) each(f func(*node)) {
	x := n
	for {
		f(x)
		if x.child != nil {
			x = x.child
			continue
		}
		for x != n && x.next == nil {
			x = x.parent
		}
		if x == n {
			return
		}
		x = x.next
	}
}

// named returns the child of that name, or nil.
func (n *node) named(name []byte) *node {
	for c := n.child; c != nil; c = c.next {
		if c.name == string(name) {
			return c
		}
	}
	return nil
}

// within reports whether n is top or below it.
func (n *node) within(top *node) bool {
	for ; n != nil; n = n.parent {
		if n == top {
			return true
		}
	}
	return false
}

// link puts n into a directory.
func (n *node) link(parent *node, name []byte) {
	n.name, n.parent = string(name), parent
	n.next, parent.child = parent.child, n
}

// unlink takes n out of its directory.
func (n *node) unlink() {
	at := &n.parent.child
	for *at != n {
		at = &(*at).next
	}
	*at, n.next, n.parent = n.next, nil, nil
}

// appendPath appends the path of a name in n, relative to the top. An empty name is n itself. It
// returns nil if the path is longer than dst has room for.
func (n *node) appendPath(dst []byte, name []byte) []byte {
	size := len(name)
	for x := n; x.parent != nil; x = x.parent {
		if size > 0 {
			size++
		}
		size += len(x.name)
	}
	if size > cap(dst) {
		return nil
	}
	dst = dst[:size]
	at := size - copy(dst[size-len(name):], name)
	for x := n; x.parent != nil; x = x.parent {
		if at < size {
			at--
			dst[at] = '/'
		}
		at -= len(x.name)
		copy(dst[at:], x.name)
	}
	return dst
}

// search returns where the node with that wd is or would be.
func (w *watch) search(wd int32) int {
	low, high := 0, len(w.nodes)
	for low < high {
		if middle := (low + high) / 2; w.nodes[middle].wd < wd {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// find returns the node with that wd, or nil.
func (w *watch) find(wd int32) *node {
	if i := w.search(wd); i < len(w.nodes) && w.nodes[i].wd == wd && !w.nodes[i].dead {
		return w.nodes[i]
	}
	return nil
}

// add makes a node. The kernel gives its numbers out in ascending order.
func (w *watch) add(wd int32, parent *node, name []byte) *node {
	n := &node{wd: wd}
	if parent != nil {
		n.link(parent, name)
	}
	i := w.search(wd)
	if i < len(w.nodes) && w.nodes[i].wd == wd {
		w.nodes[i] = n // the number of a dead one
		w.dead--
	} else {
		w.nodes = append(w.nodes, nil)
		copy(w.nodes[i+1:], w.nodes[i:])
		w.nodes[i] = n
	}
	w.service.dirs++
	return n
}

// drop forgets a node and all below it. The kernel's watches are removed in the next turns.
func (w *watch) drop(n *node) {
	n.unlink()
	n.each(func(x *node) {
		x.dead = true
		w.gone = append(w.gone, x.wd)
		w.dead++
		w.service.dirs--
		w.service.Garbage.Add(nodeGarbage)
	})
	if w.dead > len(w.nodes)/2 {
		alive := w.nodes[:0]
		for _, x := range w.nodes {
			if !x.dead {
				alive = append(alive, x)
			}
		}
		clear(w.nodes[len(alive):])
		w.nodes, w.dead = alive, 0
	}
}

// hidden reports whether a name is not reported: one to skip, or a temporary file of the agent's.
func (w *watch) hidden(name []byte) bool {
	if sys.IsTempName(name) {
		return true
	}
	begin := 0
	for i := 0; i <= len(w.skip); i++ {
		if i < len(w.skip) && w.skip[i] != '/' {
			continue
		}
		if i > begin && w.skip[begin:i] == string(name) {
			return true
		}
		begin = i + 1
	}
	return false
}
