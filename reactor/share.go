package reactor

import "golang.org/x/sys/unix"

// keptImages is how many images are kept while no child uses them.
const keptImages = 8

// Share has children start in the memory of this process, until they execute their programs. A
// copy takes half a millisecond in an emulated machine. Commands with a User, a Confinement or Wipe
// still get a copy, because those change what the memory is to the kernel.
//
// Only process 1 of a machine may share. With a child the OOM killer kills each process that has
// the same memory, and they have one oom_score_adj. Process 1 is excepted from both.
func (l *Loop) Share() { l.spawner.shares = sparse }

// mayShare reports whether the command's child may share this process's memory.
func (s *spawner) mayShare(cmd *Command) bool {
	return s.shares && s.way == byClone3 && cmd.User == nil && cmd.Confinement == nil && !cmd.Wipe
}

// takeImage returns an image that no child uses.
func (s *spawner) takeImage() (b []byte, err error) {
	if s.leftOut != len(leftOut) {
		for _, b := range s.images {
			unix.Madvise(b, unix.MADV_DOFORK)
		}
		s.leftOut = len(leftOut)
	}
	kept := s.images[:0]
	for i, image := range s.images {
		switch {
		case lent(image):
		case b == nil:
			b = image
		case i >= keptImages:
			unix.Munmap(image)
			continue
		}
		kept = append(kept, image)
	}
	s.images = kept
	if b == nil {
		if b, err = mapImage(imageSize); err != nil {
			return nil, err
		}
		s.images = append(s.images, b)
	}
	return b, nil
}

func mapImage(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}
