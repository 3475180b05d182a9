// Package kafkaclient owns how a configuration becomes a *kgo.Client: security, durability of what is produced,
// metrics and logs. What a client consumes is its caller's matter, by further options.
package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"

	"github.com/revstream/revstream/pipeline/secret"
)

// Config says how to reach a Kafka cluster. Embed it in a binary's settings.
type Config struct {
	Brokers  []string `name:"kafka-brokers" env:"KAFKA_BROKERS" required:"" placeholder:"HOST:PORT" help:"Kafka brokers to bootstrap from, separated by commas." group:"Kafka"`
	ClientID string   `name:"kafka-client-id" env:"KAFKA_CLIENT_ID" default:"${kafka_client_id=revstream}" help:"Name of this client in the brokers' logs and quotas." group:"Kafka"`

	TLS         bool   `name:"kafka-tls" env:"KAFKA_TLS" help:"Connect with TLS. The settings for certificates imply it." group:"Kafka"`
	TLSCAFile   string `name:"kafka-tls-ca-file" env:"KAFKA_TLS_CA_FILE" placeholder:"PEM" help:"CA certificates to trust instead of the system's." group:"Kafka"`
	TLSCertFile string `name:"kafka-tls-cert-file" env:"KAFKA_TLS_CERT_FILE" placeholder:"PEM" help:"Client certificate, for mutual TLS." group:"Kafka"`
	TLSKeyFile  string `name:"kafka-tls-key-file" env:"KAFKA_TLS_KEY_FILE" placeholder:"PEM" help:"Key of the client certificate." group:"Kafka"`

	SASLMechanism string     `name:"kafka-sasl-mechanism" env:"KAFKA_SASL_MECHANISM" placeholder:"NAME" help:"PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; none if empty." group:"Kafka"`
	SASLUser      string     `name:"kafka-sasl-user" env:"KAFKA_SASL_USER" placeholder:"NAME" help:"SASL user." group:"Kafka"`
	SASLPassword  secret.Ref `name:"kafka-sasl-password" env:"KAFKA_SASL_PASSWORD" placeholder:"SECRET" help:"SASL password." group:"Kafka"`
}

// New returns a client whose producer is idempotent, waits for all in-sync replicas, compresses with zstd and retries
// for as long as the broker is away; opts come last and win. It connects to nothing, but reads the certificates that
// cfg names. The caller closes the client.
//
// Two clients of one process that share a registerer need distinct client IDs, which label the metrics. A nil
// registerer leaves the client without metrics.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer, opts ...kgo.Opt) (*kgo.Client, error) {
	var errs []error
	if len(cfg.Brokers) == 0 {
		errs = append(errs, errors.New("KAFKA_BROKERS is required (or --kafka-brokers)"))
	} else if err := kgo.ValidateOpts(kgo.SeedBrokers(cfg.Brokers...)); err != nil {
		errs = append(errs, fmt.Errorf("KAFKA_BROKERS (or --kafka-brokers): want HOST:PORT, separated by commas: %w", err))
	}
	tlsConfig, err := cfg.tls()
	errs = append(errs, err)
	login, err := cfg.sasl()
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	all := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(cfg.ClientID),
		kgo.WithLogger(quietLogger{logger}),

		// Idempotence, which is kgo's default and needs acks=all, keeps a retried batch from being written twice or
		// out of order. Retries are unlimited by kgo's default: a record is lost only with its process, and its
		// producer has not moved its cursor then.
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.NoCompression()),

		// A load balancer or a proxy before a broker that is away accepts and closes. The client would take that for a
		// wrong setting, give up what it was told to produce, and leave its group; it still warns of it.
		kgo.AlwaysRetryEOF(),
		kgo.DialTimeout(10 * time.Second),
		kgo.RequestTimeoutOverhead(10 * time.Second),
		kgo.ConnIdleTimeout(5 * time.Minute),
	}
	if tlsConfig != nil {
		all = append(all, kgo.DialTLSConfig(tlsConfig))
	}
	if login != nil {
		all = append(all, kgo.SASL(login.mechanism), kgo.WithHooks(login))
	}
	if reg != nil {
		all = append(all, kgo.WithHooks(kprom.NewMetrics("revstream_kafka", kprom.Registerer(reg), kprom.WithClientLabel())))
	}
	client, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("configuring the Kafka client: %w", err)
	}
	return client, nil
}

// Check returns a readiness check that asks any broker for its metadata within timeout.
func Check(client *kgo.Client, timeout time.Duration) func(context.Context) (map[string]any, error) {
	return func(ctx context.Context) (map[string]any, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		start := time.Now()
		if err := client.Ping(ctx); err != nil {
			return map[string]any{"connected": false}, fmt.Errorf("reaching a Kafka broker: %w", err)
		}
		return map[string]any{"connected": true, "latency_ms": time.Since(start).Milliseconds()}, nil
	}
}
