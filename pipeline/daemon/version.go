package daemon

import (
	"runtime/debug"
)

// version is set by the release build: -ldflags "-X github.com/revstream/revstream/pipeline/daemon.version=v1.2.3".
var version string

// Version returns the release, or for any other build the commit that it was made from, or "dev".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	revision, modified := "", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			modified = "-modified"
		}
	}
	if revision == "" {
		return "dev"
	}
	return revision[:min(12, len(revision))] + modified
}
