package web

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/revstream/revstream/dlq-replayer/board"
	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas/wire"
)

// detail is a letter, whole.
type detail struct {
	board.Row
	Original struct {
		Topic     string    `json:"topic"`
		Partition int32     `json:"partition"`
		Offset    int64     `json:"offset"`
		Timestamp time.Time `json:"timestamp"`
	} `json:"original"`
	Headers []header `json:"headers"`

	ValueBytes    int             `json:"value_bytes"`
	Value         json.RawMessage `json:"value,omitempty"`
	Masked        bool            `json:"masked"`
	Undecodable   string          `json:"undecodable,omitempty"` // why there is no value
	UndecodableAt *int            `json:"undecodable_at,omitempty"`
	Hex           string          `json:"hex,omitempty"` // then: of all bytes, or of those that are never personal

	Decisions []deadletter.Decision `json:"decisions"`
	Failures  []board.Row           `json:"failures"`

	Warehouse      *held  `json:"warehouse,omitempty"`
	WarehouseError string `json:"warehouse_error,omitempty"`
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// letter answers with one letter. Its personal data is revealed to operators who say why, which is kept first.
func (s *Server) letter(w http.ResponseWriter, r *http.Request, who *session) error {
	id, err := desk.ParseID(r.PathValue("topic") + "/" + r.PathValue("partition") + "/" + r.PathValue("offset"))
	if err != nil {
		return refuse(http.StatusBadRequest, "%w", err)
	}
	reveal := r.URL.Query().Get("reveal") == "true"
	why := strings.TrimSpace(r.URL.Query().Get("reason"))
	switch {
	case reveal && who.role < operator:
		return errNotOperator
	case reveal && why == "":
		return desk.ErrNoWhy
	}
	entry, found, err := s.board.Read(r.Context(), id)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%s: %w", id, desk.ErrUnknownLetter)
	}
	if reveal {
		order := desk.Order{By: who.name, Why: why, From: s.address(r)}
		if err := s.desk.Reveal(r.Context(), []desk.ID{id}, order); err != nil {
			return fmt.Errorf("recording that the letter is revealed: %w", err)
		}
	}
	shown, err := s.detail(r.Context(), entry, reveal)
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, shown)
	return nil
}

func (s *Server) detail(ctx context.Context, e desk.Entry, reveal bool) (*detail, error) {
	l := e.Letter
	shown := &detail{Row: board.NewRow(e), Headers: []header{}, ValueBytes: len(l.Value), Masked: !reveal}
	shown.Original.Topic, shown.Original.Partition = l.Topic, l.OriginalPartition
	shown.Original.Offset, shown.Original.Timestamp = l.OriginalOffset, l.Timestamp
	for _, h := range l.Headers {
		shown.Headers = append(shown.Headers, header{h.Key, string(h.Value)})
	}
	s.value(ctx, shown, l, reveal)
	var err error
	if shown.Decisions, err = s.desk.History(ctx, e.ID); err != nil {
		return nil, err
	}
	if shown.Decisions == nil {
		shown.Decisions = []deadletter.Decision{}
	}
	shown.Failures = s.board.Related(shown.Row)
	if s.warehouse != nil {
		shown.Warehouse, err = s.warehouse.row(ctx, e.ID.Topic, string(l.Key), reveal)
		if err != nil {
			shown.WarehouseError = err.Error()
		}
	}
	return shown, nil
}

// value shows a letter's value. A tombstone has none.
func (s *Server) value(ctx context.Context, shown *detail, l deadletter.Letter, reveal bool) {
	if len(l.Value) == 0 {
		return
	}
	value, err := s.values.Show(ctx, l, reveal)
	if err != nil {
		// The registry is away: all else can be shown.
		shown.Undecodable = "SCHEMA_REGISTRY_URL: " + err.Error()
		return
	}
	if shown.Value, shown.Undecodable = value.Value, value.Undecodable; value.Undecodable == "" {
		return
	}
	shown.Hex = hex.EncodeToString(value.Raw)
	if value.At != wire.Nowhere {
		shown.UndecodableAt = &value.At
	}
}
