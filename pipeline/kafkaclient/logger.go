package kafkaclient

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"
)

// quietLogger passes a client's warnings and errors on as they are and its informational lines, of which each
// rebalance and metadata update has many, as debug.
type quietLogger struct{ logger *slog.Logger }

// Level implements kgo.Logger. kgo's own debug level, some lines per request, is out of reach on purpose.
func (l quietLogger) Level() kgo.LogLevel {
	return min(kslog.New(l.logger).Level(), kgo.LogLevelInfo)
}

// Log implements kgo.Logger.
func (l quietLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if level == kgo.LogLevelInfo {
		level = kgo.LogLevelDebug
	}
	kslog.New(l.logger).Log(level, msg, keyvals...)
}
