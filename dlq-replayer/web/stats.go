package web

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/dlq-replayer/board"
	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

func (s *Server) stats(w http.ResponseWriter, r *http.Request, _ *session) error {
	stats := s.board.Stats()
	type topic struct {
		board.TopicStats
		Open      int `json:"open"`
		Replayed  int `json:"replayed"`
		Parked    int `json:"parked"`
		Discarded int `json:"discarded"`
	}
	topics := []topic{}
	for _, t := range stats.Topics {
		topics = append(topics, topic{
			TopicStats: t, Open: t.States[desk.Open], Replayed: t.States[deadletter.Replayed],
			Parked: t.States[deadletter.Parked], Discarded: t.States[deadletter.Discarded],
		})
	}
	body := map[string]any{"states": stats.States, "topics": topics, "letters": stats.Letters, "ready": s.board.Ready()}
	list, err := s.stopped.get(r.Context())
	if err != nil {
		body["stopped_error"] = err.Error() // the counts are right all the same
	}
	body["stopped"] = list
	s.answer(w, http.StatusOK, body)
	return nil
}

// stoppedEvery is how long the list of stopped consumers is shown before it is made anew: it asks all groups.
const stoppedEvery = 5 * time.Second

// stopped are the consumers that their cap has stopped.
type stopped struct {
	desk Desk

	mu    sync.Mutex
	list  []desk.Stopped
	err   error
	asked time.Time
}

func (st *stopped) get(ctx context.Context) ([]desk.Stopped, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if time.Since(st.asked) < stoppedEvery {
		return st.list, st.err
	}
	// One browser's leaving must not fail the next, who gets this answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stoppedEvery)
	defer cancel()
	found, err := st.desk.Stopped(ctx)
	st.list, st.err, st.asked = append([]desk.Stopped{}, found...), err, time.Now() // never null
	return st.list, st.err
}

// gauges tell Prometheus what the page shows.
type gauges struct {
	board   *board.Board
	stopped *stopped
}

var (
	lettersDesc = prometheus.NewDesc("revstream_dlq_letters", "Dead letters by original topic, state and reason. Of each topic there is a 0 without a reason.", []string{"topic", "state", "reason"}, nil)
	stoppedDesc = prometheus.NewDesc("revstream_dlq_stopped_partitions",
		"Partitions at which the cap of poison has stopped their consumer, by group and topic.", []string{"group", "topic"}, nil)
)

// Describe implements prometheus.Collector.
func (*gauges) Describe(descs chan<- *prometheus.Desc) {
	descs <- lettersDesc
	descs <- stoppedDesc
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(metrics chan<- prometheus.Metric) {
	g.collectLetters(metrics)
	list, err := g.stopped.get(context.Background()) //nolint:forbidigo // a scrape has no context; the asking has its timeout
	if err != nil {
		return // the check of the letters tells of a broker that is away
	}
	counts := map[[2]string]int{}
	for _, c := range list {
		counts[[2]string{c.Group, c.Topic}]++
	}
	for labels, partitions := range counts {
		metrics <- prometheus.MustNewConstMetric(stoppedDesc, prometheus.GaugeValue, float64(partitions), labels[0], labels[1])
	}
}

// collectLetters has nothing to tell until everything was read once.
func (g *gauges) collectLetters(metrics chan<- prometheus.Metric) {
	if !g.board.Ready() {
		return
	}
	counts := map[[3]string]int{}
	all := func(topic, reason string) {
		for _, state := range desk.AllStates {
			counts[[3]string{topic, state, reason}] = 0
		}
	}
	for _, topic := range g.board.Names().Topics {
		all(topic, "")
	}
	for _, t := range g.board.Stats().Topics {
		all(t.Topic, t.Reason)
		for state, letters := range t.States {
			counts[[3]string{t.Topic, state, t.Reason}] = letters
		}
	}
	for labels, letters := range counts {
		metrics <- prometheus.MustNewConstMetric(lettersDesc, prometheus.GaugeValue, float64(letters), labels[:]...)
	}
}
