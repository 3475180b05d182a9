package network_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/faults/network"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestMain lets toxiproxy leave the goroutines of connections behind that ended in the middle of a write.
func TestMain(m *testing.M) {
	const lib = "github.com/Shopify/toxiproxy/v2"
	pipelinetest.Main(m, goleak.IgnoreAnyFunction(lib+"/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction(lib+".(*ToxicLink).read"), goleak.IgnoreAnyFunction(lib+".(*ToxicLink).write"))
}

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // until the other side has gone
			}()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		<-done
	})
	return listener.Addr().String()
}

// ask sends a line over a new connection and reads the answer.
func ask(ctx context.Context, addr string, patience time.Duration) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, "hello"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && line != "hello\n" {
		err = fmt.Errorf("answered %q", line)
	}
	return err
}

// TestTroublesComeAndGo: each does what it says, on its link alone, and is over when it is healed.
func TestTroublesComeAndGo(t *testing.T) {
	t.Parallel()
	n := network.New()
	t.Cleanup(n.Close)
	upstream := echo(t)
	link, err := n.Place(t.Context(), "a-b", upstream)
	require.NoError(t, err)
	other, err := n.Place(t.Context(), "c-b", upstream)
	require.NoError(t, err)
	require.Equal(t, []string{"a-b", "c-b"}, n.Links())
	const soon = 100 * time.Millisecond // less than a slow link needs there and back

	for _, trouble := range network.Troubles {
		require.NoError(t, ask(t.Context(), link, time.Minute), trouble)
		heal, err := n.Break("a-b", trouble)
		require.NoError(t, err)
		require.Error(t, ask(t.Context(), link, soon), trouble)
		if trouble == network.Slow {
			require.NoError(t, ask(t.Context(), link, time.Minute), trouble)
		}
		require.NoError(t, ask(t.Context(), other, time.Minute), trouble)
		require.NoError(t, heal())
		require.NoError(t, ask(t.Context(), link, time.Minute), trouble)
	}
	_, err = n.Break("nowhere", network.Cut)
	require.ErrorContains(t, err, `no link "nowhere"`)
}

// TestTheEngineRefusesAsItIsMadeTo: the code of each refusal is ClickHouse's own, an answer that gets lost is that of an
// insert that was carried out, and reading goes on.
func TestTheEngineRefusesAsItIsMadeTo(t *testing.T) {
	t.Parallel()
	engine, err := url.Parse(pipelinetest.ClickHouse(t))
	require.NoError(t, err)
	front, addr, err := network.NewWarehouse(t.Context(), engine.Host)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, front.Close()) })
	base := "http://" + addr + engine.Path
	pipelinetest.SQL(t, base, "CREATE TABLE events (id UInt64) ENGINE = MergeTree ORDER BY id")
	insert := func() (string, error) {
		target := "http://" + addr + "/?database=" + strings.Trim(engine.Path, "/") + "&wait_end_of_query=1&query=" + url.QueryEscape("INSERT INTO events FORMAT TSV")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(strings.Repeat("1\n", 100_000)))
		require.NoError(t, err)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body), nil
	}
	rows := func() string { return pipelinetest.SQL(t, base, "SELECT count() FROM events") }
	for range 2 {
		answer, err := insert()
		require.NoError(t, err)
		require.Empty(t, answer)
	}

	codes := map[network.Refusal]string{
		network.TooManyParts: "TOO_MANY_PARTS", network.MemoryLimit: "MEMORY_LIMIT_EXCEEDED", network.TimeLimit: "TIMEOUT_EXCEEDED",
		network.ReadOnly: "READONLY", network.DiskFull: "NOT_ENOUGH_SPACE",
	}
	for i, refusal := range network.Refusals {
		heal := front.Refuse(refusal)
		answer, err := insert()
		if refusal == network.LostAnswer {
			require.Error(t, err)
			require.Equal(t, "300000", rows())
		} else {
			require.NoError(t, err)
			require.Contains(t, answer, codes[refusal])
			require.Equal(t, "200000", rows(), refusal)
		}
		require.EqualValues(t, i+1, front.Refused())
		heal()
	}
	_, err = insert()
	require.NoError(t, err)
	require.Equal(t, "400000", rows())
}

// TestASlowLinkHealsUnderLoad: toxiproxy itself waits for ever when a toxic is taken off in the middle of a write.
func TestASlowLinkHealsUnderLoad(t *testing.T) {
	t.Parallel()
	n := network.New()
	t.Cleanup(n.Close)
	upstream := echo(t)
	link, err := n.Place(t.Context(), "a-b", upstream)
	require.NoError(t, err)
	heal, err := n.Break("a-b", network.Slow)
	require.NoError(t, err)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", link)
	require.NoError(t, err)
	defer conn.Close()
	full := conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	require.NoError(t, full)
	_, err = conn.Write(make([]byte, 64<<20)) // far more than passes, and nobody reads the answer
	require.Error(t, err)
	healed := make(chan error, 1)
	go func() { healed <- heal() }()
	select {
	case err := <-healed:
		require.NoError(t, err)
	case <-time.After(30 * time.Second):
		require.FailNow(t, "the link does not heal")
	}
	require.NoError(t, ask(t.Context(), link, time.Minute))
}
