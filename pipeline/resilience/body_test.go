package resilience_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
)

func flush(w http.ResponseWriter, text string) {
	_, _ = io.WriteString(w, text)
	_ = http.NewResponseController(w).Flush()
}

// Over a real connection: what was read stays read, and the error says what happened.
func TestBodyThatEndsBadly(t *testing.T) {
	t.Parallel()
	cfg := fast
	cfg.StallTimeout = 50 * time.Millisecond
	for _, test := range []struct {
		name  string
		step  http.HandlerFunc
		check func(*testing.T, error)
	}{
		{"stalls", func(w http.ResponseWriter, r *http.Request) {
			flush(w, "half")
			<-r.Context().Done()
		}, func(t *testing.T, err error) {
			t.Helper()
			require.ErrorContains(t, err, "no data within 50ms")
			var network net.Error
			require.ErrorAs(t, err, &network)
			require.True(t, network.Timeout())
		}},
		{"is cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			flush(w, "half")
		}, func(t *testing.T, err error) {
			t.Helper()
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}},
		{"is cut off within a chunk", func(w http.ResponseWriter, _ *http.Request) {
			flush(w, "half")
			panic(http.ErrAbortHandler)
		}, func(t *testing.T, err error) {
			t.Helper()
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, cfg, test.step)
			resp, err := s.do(t, t.Context(), "GET", "")
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.Equal(t, "half", string(got))
			test.check(t, err)
			var damaged *resilience.BodyError
			require.ErrorAs(t, err, &damaged)
			require.Equal(t, resilience.Passes, resilience.ClassOf(err))
			require.Equal(t, 1, s.tries(), "the caller may have used the first half")
		})
	}
}

func TestCallerWhoLeavesABodyIsNoDamage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := newSource(t, fast, func(w http.ResponseWriter, r *http.Request) {
		flush(w, "half")
		<-r.Context().Done()
	})
	resp, err := s.do(t, ctx, "GET", "")
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, context.Canceled)
	var damaged *resilience.BodyError
	require.NotErrorAs(t, err, &damaged)
}

// impatient is a body that fails once its request has ended, as one of the network does.
type impatient struct {
	ended func() error
	io.Reader
}

func (b *impatient) Read(p []byte) (int, error) {
	if err := b.ended(); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

// A reader that pauses for longer than the timeout, as one that writes to Kafka does, stalls nothing.
func TestSlowReaderIsNoStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: func(req *http.Request) (*http.Response, error) {
			return response(200, &impatient{req.Context().Err, strings.NewReader("abc")}), nil
		}}
		client := &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, quiet, n)}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://source/", nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		for range 3 {
			require.NoError(t, resilience.Sleep(t.Context(), time.Hour))
			_, err = resp.Body.Read(make([]byte, 1))
			require.NoError(t, err)
		}
	})
}

func TestRepeat(t *testing.T) {
	t.Parallel()
	errWrong := errors.New("wrong")
	for _, test := range []struct {
		name  string
		cfg   resilience.RepeatConfig
		err   error
		tries int
	}{
		{"cut off", resilience.RepeatConfig{}, &resilience.BodyError{Err: io.ErrUnexpectedEOF}, 3},
		{"any other error", resilience.RepeatConfig{}, errWrong, 1},
		{"as told", resilience.RepeatConfig{MaxTries: 5, Retryable: func(err error) bool { return errors.Is(err, errWrong) }}, errWrong, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				err := resilience.Repeat(t.Context(), test.cfg, quiet, "list", func(context.Context) error { tries++; return test.err })
				require.Equal(t, test.err, err, "as it is")
				require.Equal(t, test.tries, tries)

				err = resilience.Repeat(t.Context(), test.cfg, quiet, "list", func(context.Context) error {
					if tries++; tries == test.tries+2 {
						return nil
					}
					return test.err
				})
				require.Equal(t, test.tries > 1, err == nil)
			})
		})
	}
}

// Three tries of three would be nine.
func TestRepeatLeavesAloneWhatTheTransportHasGivenUp(t *testing.T) {
	t.Parallel()
	s := newSource(t, fast, hangUp, hangUp, hangUp, hangUp, hangUp, hangUp, hangUp, hangUp, hangUp)
	cfg := resilience.RepeatConfig{Backoff: fast.Backoff, Retryable: func(error) bool { return true }}
	err := resilience.Repeat(t.Context(), cfg, quiet, "list", func(ctx context.Context) error { return fetchFrom(ctx, s.client, s.URL) })
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 3, s.tries())
}

func TestRepeatEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	damaged := &resilience.BodyError{Err: io.ErrUnexpectedEOF}
	err := resilience.Repeat(ctx, resilience.RepeatConfig{Backoff: resilience.Backoff{Base: time.Hour, Max: time.Hour}}, quiet, "list",
		func(context.Context) error { time.AfterFunc(time.Millisecond, cancel); return damaged })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, damaged)

	require.ErrorIs(t, resilience.Repeat(ctx, resilience.RepeatConfig{}, quiet, "list", func(ctx context.Context) error { return ctx.Err() }), context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	require.NoError(t, resilience.Repeat(ctx, resilience.RepeatConfig{}, quiet, "list", func(context.Context) error { cancel(); return nil }),
		"what is done at the last moment is done")
}
