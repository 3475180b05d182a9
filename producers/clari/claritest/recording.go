package claritest

import (
	"net/http"

	"github.com/revstream/revstream/producers/recording"
)

// LoadRecording answers as the API did in a recording, in place of a Simulator.
func LoadRecording(dir string) (http.Handler, error) { return recording.Load(dir) }
