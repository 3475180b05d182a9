package consume

// window remembers which of a partition's last records were poison.
type window struct {
	ring   []bool // true: poison
	next   int
	poison int
	seen   int // records in the ring
}

func (w *window) add(size int, poison bool) {
	if w.ring == nil {
		w.ring = make([]bool, size)
	}
	if w.seen == size {
		if w.ring[w.next] {
			w.poison--
		}
	} else {
		w.seen++
	}
	w.ring[w.next] = poison
	if poison {
		w.poison++
	}
	w.next = (w.next + 1) % size
}

// over says whether the poison of the window exceeds the cap.
func (w *window) over(cfg Config) bool {
	return w.poison >= cfg.PoisonMin && float64(w.poison) > cfg.PoisonShare*float64(w.seen)
}
