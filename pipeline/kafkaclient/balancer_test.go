package kafkaclient_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestARequestOutlivesABalancerWithoutABroker: what accepts a connection and closes it is an outage. A fault run had
// producers give their records up for it.
func TestARequestOutlivesABalancerWithoutABroker(t *testing.T) {
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
			_, _ = conn.Read(make([]byte, 1<<10)) // what is closed unread is reset
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, balancer.Close())
		<-ended
	})

	const turnedAway = int64(10)
	var dials atomic.Int64
	client, err := kafkaclient.New(kafkaclient.Config{Brokers: cluster.ListenAddrs(), ClientID: "test"}, pipelinetest.Logger(t), prometheus.NewRegistry(),
		kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond }), kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1) <= turnedAway {
				addr = balancer.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	// A request stands for all that the client does by itself, such as asking for the ID of a producer.
	_, err = kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), client)
	require.NoError(t, err)
	require.Greater(t, dials.Load(), turnedAway)
}
