package resilience_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
)

// network is what goes to the network, in a bubble of testing/synctest: it notes when a try is made, and answers as set.
type network struct {
	mu     sync.Mutex
	tries  []time.Time
	answer func(*http.Request) (*http.Response, error)
}

func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.tries = append(n.tries, time.Now())
	answer := n.answer
	n.mu.Unlock()
	return answer(req)
}

func (n *network) set(answer func(*http.Request) (*http.Response, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer = answer
}

func (n *network) made() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tries
}

func response(code int, body io.Reader, header ...string) *http.Response {
	resp := &http.Response{
		StatusCode: code, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1,
		ProtoMajor: 1, ProtoMinor: 1,
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// body brings its text and then ends with err; nil stands for the end of the request's context.
type body struct {
	io.Reader
	done <-chan struct{}
	err  error
}

func (b *body) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	if b.err == nil {
		<-b.done
		return 0, context.Canceled
	}
	return 0, b.err
}

// What an outage can look like.
var (
	up = func(req *http.Request) (*http.Response, error) {
		return response(200, strings.NewReader("{}")), nil
	}

	outages = map[string]func(*http.Request) (*http.Response, error){
		"refused": func(*http.Request) (*http.Response, error) { return nil, errDown },
		"HTML error page": func(req *http.Request) (*http.Response, error) {
			return response(502, strings.NewReader("<html>Bad Gateway</html>"), "Content-Type", "text/html"), nil
		},
		"no answer": func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		},
		"stalled body": func(req *http.Request) (*http.Response, error) {
			return response(200, &body{strings.NewReader("{"), req.Context().Done(), nil}), nil
		},
		"cut body": func(req *http.Request) (*http.Response, error) {
			return response(200, &body{strings.NewReader("{"), req.Context().Done(), io.ErrUnexpectedEOF}), nil
		},
	}
)

func fetch(ctx context.Context, client *http.Client) error {
	return fetchFrom(ctx, client, "http://source/")
}

func fetchFrom(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// Whatever fails, and however many callers go on calling: in an outage of hours there is one request a minute.
func TestOutageCostsOneProbeAMinute(t *testing.T) {
	t.Parallel()
	for name, down := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &network{answer: down}
				client := &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, quiet, n)}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				var callers sync.WaitGroup
				for range 4 {
					callers.Go(func() {
						for resilience.Sleep(ctx, 5*time.Second) == nil {
							_ = resilience.Repeat(ctx, resilience.RepeatConfig{}, quiet, "list", func(ctx context.Context) error {
								tryCtx, cancel := context.WithTimeout(ctx, 5*time.Minute)
								defer cancel()
								return fetch(tryCtx, client)
							})
						}
					})
				}
				callers.Wait()

				tries := n.made()
				require.Less(t, len(tries), 2*60+10)
				require.Greater(t, len(tries), 75, "it must go on probing")
				for i := range tries[10:] {
					require.GreaterOrEqual(t, tries[i+10].Sub(tries[i+9]), time.Minute)
				}

				n.set(up)
				for fetch(t.Context(), client) != nil {
					require.NoError(t, resilience.Sleep(t.Context(), time.Second))
				}
				require.LessOrEqual(t, time.Since(tries[len(tries)-1]), 93*time.Second, "the first probe that succeeds closes it")
				require.NoError(t, fetch(t.Context(), client))
			})
		})
	}
}

// A caller that gives up its probe has not shown that the source is back, and must not keep the next probe from being made.
func TestProbeThatIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, probed := range map[string]func(context.CancelFunc) func(*http.Request) (*http.Response, error){
		"before the answer": func(giveUp context.CancelFunc) func(*http.Request) (*http.Response, error) {
			return func(req *http.Request) (*http.Response, error) {
				giveUp()
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
		},
		"as the answer comes": func(giveUp context.CancelFunc) func(*http.Request) (*http.Response, error) {
			return func(req *http.Request) (*http.Response, error) {
				defer giveUp()
				return up(req)
			}
		},
		"while it reads": func(giveUp context.CancelFunc) func(*http.Request) (*http.Response, error) {
			return func(req *http.Request) (*http.Response, error) {
				time.AfterFunc(time.Second, giveUp)
				return outages["stalled body"](req)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &network{answer: outages["refused"]}
				client := &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, quiet, n)}
				for errors.Is(fetch(t.Context(), client), errDown) {
					continue
				}
				require.NoError(t, resilience.Sleep(t.Context(), time.Minute))
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				n.set(probed(giveUp))
				require.ErrorIs(t, fetch(ctx, client), context.Canceled)

				n.set(up)
				synctest.Wait()
				require.ErrorIs(t, fetch(t.Context(), client), resilience.ErrCircuitOpen)
				require.NoError(t, resilience.Sleep(t.Context(), time.Minute))
				require.NoError(t, fetch(t.Context(), client))
			})
		})
	}
}

// Many tries of one caller that end together, as at a shutdown, are no outage; one that outlasts its deadline is.
func TestCallersWhoGiveUpDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: outages["no answer"]}
		client := &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, quiet, n)}
		ctx, giveUp := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, giveUp)
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() { _ = fetch(ctx, client) })
		}
		callers.Wait()
		n.set(up)
		require.NoError(t, fetch(t.Context(), client))

		n.set(outages["no answer"])
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			require.ErrorIs(t, fetch(ctx, client), context.DeadlineExceeded)
			cancel()
		}
		require.ErrorIs(t, fetch(t.Context(), client), resilience.ErrCircuitOpen)
	})
}
