// Package samples owns what the warehouse keeps of Kafka's own state, minute by minute: how far consumers are behind, and what
// lies on the dead-letter topics.
package samples

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
)

// Sampler copies. Any number of them may run at the same time, in one process or in several: what they write twice is one row.
type Sampler struct {
	cfg     clickhousesink.Config
	logger  *slog.Logger
	kafka   *kgo.Client
	conn    clickhouse.Conn
	letters []string            // the dead-letter topics
	topics  map[string]struct{} // those of the catalogue
	now     func() time.Time
}

// New makes a sampler. It does no I/O. Client and connection stay the caller's to close.
func New(cfg clickhousesink.Config, logger *slog.Logger, kafka *kgo.Client, conn clickhouse.Conn) (*Sampler, error) {
	if cfg.InsertTimeout <= 0 {
		return nil, errors.New("INSERT_TIMEOUT (--insert-timeout) must be positive")
	}
	catalogue, err := schemas.Topics()
	if err != nil {
		return nil, fmt.Errorf("reading the topics to sample: %w", err)
	}
	s := &Sampler{cfg: cfg, logger: logger, kafka: kafka, conn: conn, topics: map[string]struct{}{}, now: time.Now}
	for _, t := range catalogue {
		s.topics[t.Name] = struct{}{}
		if strings.HasSuffix(t.Name, deadletter.Suffix) {
			s.letters = append(s.letters, t.Name)
		}
	}
	return s, nil
}
