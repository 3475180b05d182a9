package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

// maxJobs are the runs of this process that are remembered after they have ended.
const maxJobs = 100

// errStopping is the answer to who would start a run while the page stops.
var errStopping = refuse(http.StatusConflict, "the desk is stopping: resume the run once it is back")

// runs are those that were started here. They go on when the browser leaves, until the page stops.
type runs struct {
	mu     sync.Mutex
	jobs   []*job // in order of start
	closed bool
	parts  sync.WaitGroup
}

// job is a run of this process. The mutex of runs guards what changes.
type job struct {
	id     string         // empty until it has one
	base   deadletter.Run // what is known of it from the start: of one that is resumed, what it had done before
	cancel context.CancelFunc

	report  desk.Report
	ended   bool
	failure string // the error that has ended it
	updated time.Time
	total   int // letters that it was about, if that is known
}

func newRuns() *runs { return &runs{} }

// start begins a run and returns its ID once it has one, or the error that has kept it from beginning. The run outlives ctx.
func (rs *runs) start(ctx context.Context, base deadletter.Run, total int, execute func(context.Context, func(desk.Report)) (desk.Report, error)) (string, error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	j := &job{base: base, cancel: cancel, total: total}
	rs.mu.Lock()
	if rs.closed {
		rs.mu.Unlock()
		cancel()
		return "", errStopping
	}
	rs.parts.Add(1)
	rs.jobs = append(rs.jobs, j)
	rs.mu.Unlock()

	begun := make(chan error, 1) // nil: it has an ID
	go func() {
		defer rs.parts.Done()
		defer cancel()
		report, err := execute(running, func(r desk.Report) { rs.tell(j, r, false, nil, begun) })
		rs.tell(j, report, true, err, begun)
	}()
	select {
	case err := <-begun:
		return j.id, err
	case <-ctx.Done():
		return "", ctx.Err() // it goes on, and shows among the runs
	}
}

// tell takes progress in. begun is told once: that the run has an ID, or why it never will.
func (rs *runs) tell(j *job, report desk.Report, ended bool, err error, begun chan<- error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	j.report, j.ended, j.updated = report, ended, time.Now().UTC()
	if err != nil && !errors.Is(err, context.Canceled) {
		j.failure = err.Error()
	}
	if j.id != "" {
		return
	}
	if report.RunID == "" {
		if ended { // it never began
			rs.jobs = slices.DeleteFunc(rs.jobs, func(other *job) bool { return other == j })
			begun <- err
		}
		return
	}
	j.id = report.RunID
	begun <- nil
	if len(rs.jobs) > maxJobs {
		if i := slices.IndexFunc(rs.jobs, func(j *job) bool { return j.ended }); i >= 0 {
			rs.jobs = slices.Delete(rs.jobs, i, i+1)
		}
	}
}

// cancel stops a run, and says whether it is at work here.
func (rs *runs) cancel(id string) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, j := range rs.jobs {
		if j.id == id && !j.ended {
			j.cancel()
			return true
		}
	}
	return false
}

func (rs *runs) working() int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	n := 0
	for _, j := range rs.jobs {
		if !j.ended {
			n++
		}
	}
	return n
}

// close stops all runs and waits for them.
func (rs *runs) close() {
	rs.mu.Lock()
	rs.closed = true
	for _, j := range rs.jobs {
		j.cancel()
	}
	rs.mu.Unlock()
	rs.parts.Wait()
}

// shownRun is a run as the page sees it.
type shownRun struct {
	ID        string          `json:"run_id"`
	Action    string          `json:"action"`
	Status    string          `json:"status"`
	Note      string          `json:"note,omitempty"`
	StartedAt time.Time       `json:"started_at"`
	UpdatedAt time.Time       `json:"updated_at"`
	By        string          `json:"by"`
	Why       string          `json:"reason"`
	From      string          `json:"from"`
	Order     json.RawMessage `json:"order,omitempty"`
	Done      int             `json:"done"`
	Parked    int             `json:"parked"`
	Skipped   int             `json:"skipped"`
	Failed    int             `json:"failed"`
	Returned  int             `json:"returned"`
	Judged    int             `json:"judged"`
	Total     int             `json:"total"`
	Mine      bool            `json:"mine"` // at work in this process
}

// shownRuns merges what the topic of decisions says with what is at work here, the newest first.
func (s *Server) shownRuns(who *session) []shownRun {
	recorded := s.board.Runs()
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	jobs := map[string]*job{} // the newest of each ID: a run may have been resumed
	for _, j := range s.runs.jobs {
		if j.id != "" {
			jobs[j.id] = j
		}
	}
	list := []shownRun{}
	for _, run := range recorded {
		shown := newShownRun(run, who)
		if j := jobs[run.ID]; j != nil {
			shown.overlay(j)
			delete(jobs, run.ID)
		}
		list = append(list, shown)
	}
	for _, j := range jobs { // which the board has not read yet
		run := j.base
		run.ID = j.id
		shown := newShownRun(run, who)
		shown.overlay(j)
		list = append(list, shown)
	}
	slices.SortStableFunc(list, func(a, b shownRun) int { return b.StartedAt.Compare(a.StartedAt) })
	return list
}

func newShownRun(run deadletter.Run, who *session) shownRun {
	shown := shownRun{
		ID: run.ID, Action: verb(run), Status: run.Status, Note: run.Note, StartedAt: run.StartedAt, UpdatedAt: run.UpdatedAt,
		By: run.By, Why: run.Why, From: run.From, Order: run.Order,
		Done: run.Done, Parked: run.Parked, Skipped: run.Skipped, Failed: run.Failed, Returned: run.Returned,
	}
	if who.role < operator {
		shown.Order = maskOrder(run.Order)
	}
	return shown
}

// overlay shows what a run of this process does, or did, which its record tells later and less often.
func (r *shownRun) overlay(j *job) {
	if j.updated.After(r.UpdatedAt) {
		r.UpdatedAt = j.updated
	}
	r.Judged, r.Total = j.report.Judged, max(j.report.Total, j.total)
	r.Returned = max(r.Returned, j.base.Returned+j.report.Returned)
	if !j.ended {
		r.Status, r.Mine = deadletter.Running, true
	} else if j.report.Status != "" {
		r.Status = j.report.Status
	}
	r.Done = max(r.Done, j.base.Done+j.report.Done)
	r.Parked = max(r.Parked, j.base.Parked+j.report.Parked)
	r.Skipped = max(r.Skipped, j.base.Skipped+j.report.Skipped.Letters)
	r.Failed = max(r.Failed, j.base.Failed+j.report.Failed.Letters)
	switch {
	case j.report.Note != "":
		r.Note = j.report.Note
	case j.failure != "":
		r.Note = j.failure
	}
}

// verb is what was asked for: of replays, whether it was a repair.
func verb(run deadletter.Run) string {
	var order struct{ Action string }
	if json.Unmarshal(run.Order, &order) == nil && order.Action != "" {
		return order.Action
	}
	names := map[string]string{
		deadletter.Replayed: "replay", deadletter.Parked: "park", deadletter.Unparked: "unpark",
		deadletter.Discarded: "discard", deadletter.Exported: "export", deadletter.Imported: "import",
	}
	if name, ok := names[run.Action]; ok {
		return name
	}
	return run.Action
}

func (s *Server) listRuns(w http.ResponseWriter, _ *http.Request, who *session) error {
	s.answer(w, http.StatusOK, map[string]any{"runs": s.shownRuns(who)})
	return nil
}

func (s *Server) startRun(w http.ResponseWriter, r *http.Request, who *session) error {
	order, err := s.readOrder(w, r, who)
	if err != nil {
		return err
	}
	if order.Why == "" {
		return desk.ErrNoWhy
	}
	raw, err := json.Marshal(order)
	if err != nil {
		return err
	}
	base := deadletter.Run{
		Action: string(order.Action), Status: deadletter.Running, StartedAt: time.Now().UTC(), By: order.By, Why: order.Why, From: order.From, Order: raw,
	}
	id, err := s.runs.start(r.Context(), base, s.expected(order), func(ctx context.Context, progress func(desk.Report)) (desk.Report, error) {
		return s.desk.Run(ctx, order, progress)
	})
	if err != nil {
		return err
	}
	s.answer(w, http.StatusAccepted, map[string]string{"run_id": id})
	return nil
}

// expected is how many letters an order is about, as far as that is known without reading them.
func (s *Server) expected(order desk.Order) int {
	selection := order.Selection
	if selection.Where != "" || len(selection.Headers) > 0 {
		return 0
	}
	if len(selection.States) == 0 {
		switch {
		case len(selection.IDs) > 0:
			selection.States = desk.AllStates
		case order.Action == desk.Unpark:
			selection.States = []string{desk.Parked}
		}
	}
	total := s.board.Total(selection)
	if selection.Limit > 0 {
		total = min(total, selection.Limit)
	}
	return total
}

func (s *Server) stopRun(w http.ResponseWriter, r *http.Request, _ *session) error {
	if id := r.PathValue("id"); !s.runs.cancel(id) {
		return refuse(http.StatusNotFound, "run %q is not at work in this process: it has ended, or must be stopped where it runs", id)
	}
	s.answer(w, http.StatusAccepted, map[string]string{})
	return nil
}

func (s *Server) resumeRun(w http.ResponseWriter, r *http.Request, who *session) error {
	var body struct {
		Why string `json:"reason"`
	}
	if err := decode(w, r, &body); err != nil {
		return err
	}
	order := desk.Order{By: who.name, Why: strings.TrimSpace(body.Why), From: s.address(r)}
	if order.Why == "" {
		return desk.ErrNoWhy
	}
	id := r.PathValue("id")
	base, ok := s.board.RunByID(id)
	if !ok { // its record may be newer than the picture
		if err := s.board.Refresh(r.Context()); err != nil {
			return err
		}
		base, ok = s.board.RunByID(id)
	}
	switch {
	case !ok:
		return desk.ErrUnknownRun
	case base.Status == deadletter.Done:
		return refuse(http.StatusConflict, "run %s is done: there is nothing left of it", id)
	}
	base.Status = deadletter.Running
	_, err := s.runs.start(r.Context(), base, 0, func(ctx context.Context, progress func(desk.Report)) (desk.Report, error) {
		return s.desk.Resume(ctx, id, order, progress)
	})
	if err != nil {
		return err
	}
	s.answer(w, http.StatusAccepted, map[string]string{"run_id": id})
	return nil
}
