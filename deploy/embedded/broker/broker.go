// Package broker runs a Kafka broker on one machine: franz-go's kfake with its log on disk. It speaks the Kafka protocol over
// TCP with groups, transactions and compaction, for development and tests.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/revstream/revstream/deploy/embedded/internal/datadir"
)

// cleanerInterval is how often compaction and retention run, in milliseconds: a week. kfake does not know
// min.compaction.lag.ms, and would take records that a consumer has not read yet.
const cleanerInterval = "604800000"

// Config says where the broker listens and keeps its log.
type Config struct {
	// Addr is host:port of the one broker. Port 0 takes a free one, which Broker.Addr then tells. Default 127.0.0.1:9092.
	Addr string
	// DataDir holds topics, groups and transactions; it is created when missing. One process at a time has it.
	DataDir string
	// Partitions of a topic that is created without saying how many. Default 6.
	Partitions int
}

// Broker is a running broker.
type Broker struct {
	// Cluster is kfake's own handle, for tests that inject faults.
	Cluster *kfake.Cluster
	lock    *os.File
}

// Start locks the data folder, replays what is in it, and listens. Every acknowledged batch is on disk before its answer. ctx
// bounds the look-up of the address alone.
func Start(ctx context.Context, cfg Config, logger *slog.Logger) (*Broker, error) {
	host, port, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("embedded broker configuration: %w", err)
	}
	lock, err := datadir.Lock(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(port),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			// kfake composes its own address on the loopback interface.
			return new(net.ListenConfig).Listen(ctx, network, net.JoinHostPort(host, strconv.Itoa(port)))
		}),
		kfake.ClusterID("revstream-embedded"),
		kfake.DefaultNumPartitions(cfg.Partitions),
		kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": cleanerInterval}),
		kfake.DataDir(cfg.DataDir),
		kfake.SyncWrites(),
		kfake.WithLogger(clusterLogger{logger}),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the broker: %w", err), lock.Close())
	}
	return &Broker{Cluster: cluster, lock: lock}, nil
}

// Addr is where clients reach the broker.
func (b *Broker) Addr() string { return b.Cluster.ListenAddrs()[0] }

// Close stops the broker and flushes its state.
func (b *Broker) Close() error {
	b.Cluster.Close()
	return b.lock.Close()
}

func (c *Config) validate() (host string, port int, err error) {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:9092"
	}
	if c.Partitions == 0 {
		c.Partitions = 6
	}
	var invalid []error
	host, service, err := net.SplitHostPort(c.Addr)
	if err != nil {
		invalid = append(invalid, fmt.Errorf("Addr: %w", err))
	} else if port, err = strconv.Atoi(service); err != nil || port < 0 || port > 65535 {
		invalid = append(invalid, fmt.Errorf("Addr: %q is not a port", service))
	}
	if c.DataDir == "" {
		invalid = append(invalid, errors.New("DataDir: the data folder is missing"))
	}
	if c.Partitions < 0 {
		invalid = append(invalid, fmt.Errorf("Partitions: %d is not positive", c.Partitions))
	}
	return host, port, errors.Join(invalid...)
}

// clusterLogger passes kfake's lines on. Its info is one line per group member and request, hence debug here.
type clusterLogger struct{ logger *slog.Logger }

func (l clusterLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	severity := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		severity = slog.LevelError
	case kfake.LogLevelWarn:
		severity = slog.LevelWarn
	}
	if ctx := context.Background(); l.logger.Enabled(ctx, severity) { //nolint:forbidigo // kfake passes none
		l.logger.Log(ctx, severity, "kafka broker", "detail", fmt.Sprintf(format, args...))
	}
}
