package kafkaclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func broker(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(1, "events")}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster
}

func connect(t *testing.T, cfg kafkaclient.Config, reg prometheus.Registerer, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kafkaclient.New(cfg, quiet, reg, opts...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func produce(t *testing.T, client *kgo.Client) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return client.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: bytes.Repeat([]byte("revenue "), 1000)}).FirstErr()
}

func TestProducesDurablyAndCompressed(t *testing.T) {
	t.Parallel()
	cluster := broker(t)
	var mu sync.Mutex
	var acks []int16
	var batch kmsg.RecordBatch
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		produce := req.(*kmsg.ProduceRequest)
		acks = append(acks, produce.Acks)
		return nil, batch.ReadFrom(produce.Topics[0].Partitions[0].Records), false
	})
	reg := prometheus.NewRegistry()
	client := connect(t, kafkaclient.Config{Brokers: cluster.ListenAddrs(), ClientID: "test"}, reg)
	require.NoError(t, produce(t, client))

	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []int16{-1}, acks)
	require.EqualValues(t, 4, batch.Attributes&7, "zstd")
	require.GreaterOrEqual(t, batch.ProducerID, int64(0), "idempotent")

	// The client counts after it has told that the record is there.
	require.Eventually(t, func() bool {
		families, err := reg.Gather()
		require.NoError(t, err)
		labels := map[string]string{}
		for _, family := range families {
			for _, label := range family.GetMetric()[0].GetLabel() {
				labels[family.GetName()+"/"+label.GetName()] = label.GetValue()
			}
		}
		return labels["revstream_kafka_produce_bytes_total/client_id"] == "test" && labels["revstream_kafka_produce_bytes_total/topic"] == "events"
	}, 10*time.Second, 10*time.Millisecond)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	cluster := broker(t)
	check := kafkaclient.Check(connect(t, kafkaclient.Config{Brokers: cluster.ListenAddrs()}, nil), 5*time.Second)
	details, err := check(t.Context())
	require.NoError(t, err)
	require.Equal(t, true, details["connected"])

	nobody := []string{"127.0.0.1:1"} // a privileged port that refuses
	check = kafkaclient.Check(connect(t, kafkaclient.Config{Brokers: nobody}, nil), 300*time.Millisecond)
	start := time.Now()
	details, err = check(t.Context())
	require.ErrorContains(t, err, "reaching a Kafka broker")
	require.Equal(t, false, details["connected"])
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestSASLOverTLS(t *testing.T) {
	t.Parallel()
	// The certificate that net/http/httptest brings, for 127.0.0.1.
	server := httptest.NewTLSServer(nil)
	certificate := server.TLS.Certificates[0]
	server.Close()
	dir := t.TempDir()
	ca, password := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "password")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(block), 0o600))
	require.NoError(t, os.WriteFile(password, []byte("hunter2\n"), 0o600))

	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			cluster := broker(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "revstream", "hunter2"),
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}))
			cfg := kafkaclient.Config{
				Brokers: cluster.ListenAddrs(), TLSCAFile: ca,
				SASLMechanism: mechanism, SASLUser: "revstream", SASLPassword: secret.Ref("file://" + password),
			}
			require.NoError(t, produce(t, connect(t, cfg, nil)))

			cfg.SASLPassword = "wrong"
			_, err := kafkaclient.Check(connect(t, cfg, nil), 5*time.Second)(t.Context())
			require.Error(t, err)
		})
	}
}

func TestWrongSettingsNameTheVariables(t *testing.T) {
	t.Parallel()
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(noPEM, []byte("nothing"), 0o600))
	for _, test := range []struct {
		cfg  kafkaclient.Config
		want []string
	}{
		{kafkaclient.Config{}, []string{"KAFKA_BROKERS is required"}},
		{kafkaclient.Config{Brokers: []string{"a:9092", "foo:bar"}}, []string{"KAFKA_BROKERS (or --kafka-brokers): want HOST:PORT", `"bar"`}},
		{kafkaclient.Config{TLSCAFile: "/no/such/file", SASLMechanism: "GSSAPI"}, []string{"KAFKA_BROKERS", "KAFKA_TLS_CA_FILE", "KAFKA_SASL_MECHANISM"}},
		{kafkaclient.Config{TLSCAFile: noPEM}, []string{"KAFKA_TLS_CA_FILE: no certificate"}},
		{kafkaclient.Config{TLSCertFile: "x"}, []string{"KAFKA_TLS_CERT_FILE and KAFKA_TLS_KEY_FILE"}},
		{kafkaclient.Config{TLSCertFile: "/no/cert", TLSKeyFile: "/no/key"}, []string{"KAFKA_TLS_CERT_FILE", "/no/cert"}},
		{kafkaclient.Config{SASLMechanism: "PLAIN", SASLUser: "u"}, []string{"KAFKA_SASL_PASSWORD_FILE"}},
		{kafkaclient.Config{SASLPassword: "hunter2"}, []string{"KAFKA_SASL_MECHANISM is required"}},
	} {
		_, err := kafkaclient.New(test.cfg, quiet, nil)
		for _, want := range test.want {
			require.ErrorContains(t, err, want)
		}
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// kgo tells of every start, rebalance and metadata update at its info level.
func TestQuietAtInfo(t *testing.T) {
	t.Parallel()
	cluster := broker(t)
	logged := func(level slog.Level) string {
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
		client, err := kafkaclient.New(kafkaclient.Config{Brokers: cluster.ListenAddrs()}, logger, nil,
			kgo.ConsumerGroup("g"), kgo.ConsumeTopics("events"))
		require.NoError(t, err)
		require.NoError(t, produce(t, client))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.NoError(t, client.PollFetches(ctx).Err())
		client.Close()
		return out.String()
	}
	require.Empty(t, logged(slog.LevelInfo))
	debug := logged(slog.LevelDebug)
	require.Positive(t, strings.Count(debug, "level=DEBUG"))
	require.NotContains(t, debug, "level=INFO")
}
