package secret

// StopWatching leaves v to Renew, as if the watcher noticed nothing.
func (v *Value) StopWatching() error { return v.Close() }
