package kafkaclient_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestARecordOutlivesABalancerWithoutABroker: what accepts a connection and closes it is an outage. A fault run had
// producers give their records up for it.
func TestARecordOutlivesABalancerWithoutABroker(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, "events")
	balancer, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := balancer.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, balancer.Close())
		<-ended
	})

	var dials atomic.Int64
	client, err := kafkaclient.New(kafkaclient.Config{Brokers: cluster.ListenAddrs(), ClientID: "test"}, pipelinetest.Logger(t), prometheus.NewRegistry(),
		kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			if n := dials.Add(1); 1 < n && n <= 4 { // the first one is for the metadata
				addr = balancer.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: "events", Value: []byte("value")}).FirstErr())
	require.Greater(t, dials.Load(), int64(4))
}
