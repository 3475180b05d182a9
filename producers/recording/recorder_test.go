package recording

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhatThereIsNoRoomForIsLeftOut has nobody take exchanges out of the queue.
func TestWhatThereIsNoRoomForIsLeftOut(t *testing.T) {
	t.Parallel()
	nobody := make(chan struct{})
	close(nobody)
	r := &Recorder{queue: make(chan exchange, 20), written: nobody}
	e := exchange{
		request:  httptest.NewRequest(http.MethodGet, "/", nil),
		response: &http.Response{StatusCode: http.StatusOK}, body: sample{kept: make([]byte, maxBodyBytes)},
	}
	for range 10 {
		r.enqueue(e)
	}
	require.LessOrEqual(t, r.pending.Load(), int64(maxPendingBytes))
	require.Len(t, r.queue, maxPendingBytes/maxBodyBytes)
	e.body = sample{}
	for range 20 {
		r.enqueue(e) // the queue is full
	}
	require.Len(t, r.queue, 20)
	require.EqualError(t, r.Close(), "recording: 10 exchanges were left out")
	r.enqueue(e)
	require.Len(t, r.queue, 20, "closed")
}
