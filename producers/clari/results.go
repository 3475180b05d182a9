package clari

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
)

// maxElementBytes bounds one element of a list, and so the memory that the document's author can make us use at a time.
const maxElementBytes = 1 << 20

// Export is the results of one job: four lists that describe, held in memory, and the entries, which are not.
//
// An entry only makes sense together with its user, field, period and week, and the document has its five lists in any order,
// mostly with the entries first. So whoever joins must either hold the entries, which are tens of MB to 500 MB, or see the
// document twice. Results therefore copies it to a temporary file while it reads the describing lists from the same stream, and
// Entries reads that file. Three things come with it: a document that is cut short is known before its first entry is used, a
// slow reader of entries does not hold the connection open, and the number of entries is known beforehand.
//
// Memory holds the describing lists and one entry, of 1 MiB or so at most. An Export is safe for concurrent reading until Close.
type Export struct {
	Users       []User
	Fields      []Field
	TimePeriods []TimePeriod
	TimeFrames  []TimeFrame
	// EntryCount is the length of the entries list, with the elements that Entries reports as an *EntryError.
	EntryCount int
	// Malformed counts the elements of the other lists that were no objects and are left out; entries may refer to them.
	Malformed int
	// Bytes is the document's size.
	Bytes int64

	users   map[string]int // ID to index in the list; the first of two with one ID
	fields  map[string]int
	periods map[string]int
	frames  map[string]int

	spool    *os.File
	unlinked bool
	start    int64 // where the entries list begins in spool
	length   int64
}

// User is whose numbers an entry has. IDs and names are as the API sends them, "" where it sends null or nothing.
type User struct {
	ID, CRMID, Email, Name                 string
	HierarchyID, HierarchyName             string
	ParentHierarchyID, ParentHierarchyName string
	ScopeID                                string // "1905::MGR", or compact JSON where the API sends an object
}

// Field is what an entry's numbers mean.
type Field struct {
	ID, Name, Type string
}

// TimePeriod is a quarter. Dates are "2006-01-02", both inclusive.
type TimePeriod struct {
	ID, Type, Label, Year string
	StartDate, EndDate    string
	CRMID                 string
}

// TimeFrame is a week. Dates are "2006-01-02", both inclusive. One ID can occur in two quarters.
type TimeFrame struct {
	ID                 string
	StartDate, EndDate string
}

// Results downloads the results of a job that is DONE. The caller closes the Export, also to free its disk space. Results can be
// downloaded again until the job's ExpiredTime.
func (c *Client) Results(ctx context.Context, jobID string) (*Export, error) {
	var export *Export
	err := c.get(ctx, jobPath(jobID)+"/results", func(_ context.Context, resp *http.Response) (err error) {
		export, err = readExport(resp.Body, c.spoolDir)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("downloading the results of export job %q: %w", jobID, err)
	}
	c.logger.DebugContext(ctx, "export results downloaded", "job_id", jobID, "bytes", export.Bytes, "entries", export.EntryCount)
	return export, nil
}

// readExport copies a document into a file in dir and reads all but its entries.
func readExport(r io.Reader, dir string) (_ *Export, err error) {
	spool, err := os.CreateTemp(dir, "clari-results-*.json")
	if err != nil {
		return nil, fmt.Errorf("creating the spool file: %w", err)
	}
	e := &Export{spool: spool}
	// The file has names and e-mails in it: without a name it is gone even after kill -9. Where the system refuses to remove an
	// open file, Close does it.
	e.unlinked = os.Remove(spool.Name()) == nil
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	w := &spoolWriter{w: bufio.NewWriterSize(spool, 1<<18)}
	doc := newElements(io.TeeReader(r, w))
	if err := e.readDocument(doc); err != nil {
		return nil, cmp.Or(w.err, err)
	}
	if err := w.w.Flush(); err != nil {
		return nil, fmt.Errorf("writing the spool file: %w", err)
	}
	e.Bytes = w.n
	e.Users = append([]User(nil), e.Users...) // the longest of the lists, without what it grew by
	e.users = index(e.Users, func(u User) string { return u.ID })
	e.fields = index(e.Fields, func(f Field) string { return f.ID })
	e.periods = index(e.TimePeriods, func(p TimePeriod) string { return p.ID })
	e.frames = index(e.TimeFrames, func(f TimeFrame) string { return f.ID })
	return e, nil
}

// spoolWriter keeps the disk's error apart from the network's, which a TeeReader mixes: a full disk is no bad document.
type spoolWriter struct {
	w   *bufio.Writer
	n   int64
	err error
}

func (s *spoolWriter) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.n += int64(n)
	if err != nil {
		s.err = fmt.Errorf("writing the spool file: %w", err)
	}
	return n, err
}

// readDocument reads the whole document once.
func (e *Export) readDocument(doc *elements) error {
	if err := doc.open('{'); err != nil {
		return err
	}
	found := false
	for doc.More() {
		key, err := doc.key()
		if err != nil {
			return err
		}
		switch key {
		case "entries":
			if found {
				return fmt.Errorf("%w: two lists of entries", ErrBadResults)
			}
			found = true
			err = e.locateEntries(doc)
		case "users":
			err = readList(e, doc, &e.Users, newUsers())
		case "fields":
			err = readList(e, doc, &e.Fields, newField)
		case "timePeriods":
			err = readList(e, doc, &e.TimePeriods, newTimePeriod)
		case "timeFrames":
			err = readList(e, doc, &e.TimeFrames, newTimeFrame)
		default:
			err = doc.skip()
		}
		if err != nil {
			return err
		}
	}
	if err := doc.close(); err != nil {
		return err
	}
	// An error that came with status 200 would otherwise pass as an export of nothing.
	if !found {
		return fmt.Errorf("%w: no list of entries", ErrBadResults)
	}
	return nil
}

// locateEntries passes over the entries, which proves that they are JSON, and notes where they are.
func (e *Export) locateEntries(doc *elements) error {
	var raw json.RawMessage
	return doc.list(func(first, end int64) { e.start, e.length = first, end-first }, func() error {
		e.EntryCount++
		return doc.element(&raw)
	})
}

// readList reads a list of objects whose values are scalars, lenient about their types.
func readList[T any](e *Export, doc *elements, list *[]T, build func(map[string]text) T) error {
	return doc.list(nil, func() error {
		var raw json.RawMessage
		if err := doc.element(&raw); err != nil {
			return err
		}
		var m map[string]text
		if json.Unmarshal(raw, &m) != nil || m == nil {
			e.Malformed++
			return nil
		}
		*list = append(*list, build(m))
		return nil
	})
}

// newUsers makes users, of which many share a hierarchy and a scope.
func newUsers() func(map[string]text) User {
	seen := map[text]string{}
	shared := func(t text) string {
		s, ok := seen[t]
		if !ok {
			s = string(t)
			seen[t] = s
		}
		return s
	}
	return func(m map[string]text) User {
		return User{
			ID: string(m["userId"]), CRMID: string(m["crmId"]), Email: string(m["email"]), Name: string(m["name"]),
			HierarchyID: string(m["hierarchyId"]), HierarchyName: shared(m["hierarchyName"]),
			ParentHierarchyID: shared(m["parentHierarchyId"]), ParentHierarchyName: shared(m["parentHierarchyName"]),
			ScopeID: shared(m["scopeId"]),
		}
	}
}

func newField(m map[string]text) Field {
	return Field{ID: string(m["fieldId"]), Name: string(m["fieldName"]), Type: string(m["fieldType"])}
}

func newTimePeriod(m map[string]text) TimePeriod {
	return TimePeriod{
		ID: string(m["timePeriodId"]), Type: string(m["type"]), Label: string(m["label"]), Year: string(m["year"]),
		StartDate: string(m["startDate"]), EndDate: string(m["endDate"]), CRMID: string(m["crmId"]),
	}
}

func newTimeFrame(m map[string]text) TimeFrame {
	return TimeFrame{ID: string(m["timeFrameId"]), StartDate: string(m["startDate"]), EndDate: string(m["endDate"])}
}

func index[T any](list []T, id func(T) string) map[string]int {
	m := make(map[string]int, len(list))
	for i, v := range list {
		if _, taken := m[id(v)]; !taken {
			m[id(v)] = i
		}
	}
	return m
}

func find[T any](list []T, m map[string]int, id string) *T {
	i, ok := m[id]
	if !ok {
		return nil
	}
	return &list[i]
}

// User finds the user of an entry; nil if there is none. What User, Field, TimePeriod and TimeFrame return is the Export's own.
func (e *Export) User(id string) *User { return find(e.Users, e.users, id) }

// Field finds the field of an entry.
func (e *Export) Field(id string) *Field { return find(e.Fields, e.fields, id) }

// TimePeriod finds the quarter of an entry.
func (e *Export) TimePeriod(id string) *TimePeriod { return find(e.TimePeriods, e.periods, id) }

// TimeFrame finds the week of an entry.
func (e *Export) TimeFrame(id string) *TimeFrame { return find(e.TimeFrames, e.frames, id) }

// Entries gives the entries in the document's order, as often as it is called. With each comes nil or an error: an *EntryError
// concerns this element alone, and the next one follows; after any other error (of ctx, of the disk) there is none.
func (e *Export) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if e.length == 0 { // null instead of a list
			return
		}
		list := newEntryList(io.NewSectionReader(e.spool, e.start, e.length))
		parser := newEntryParser()
		for i := 0; list.Scan(); i++ {
			if err := ctx.Err(); err != nil {
				yield(Entry{}, fmt.Errorf("reading the entries: %w", err))
				return
			}
			entry, err := parser.parse(list.Bytes())
			if err != nil {
				entry, err = Entry{}, &EntryError{Index: i, Raw: bytes.Clone(list.Bytes()), Err: err}
			}
			if !yield(entry, err) {
				return
			}
		}
		if err := list.err(); err != nil {
			yield(Entry{}, fmt.Errorf("reading the entries: %w", err))
		}
	}
}

// Close deletes the temporary file. It may be called more than once.
func (e *Export) Close() error {
	err := e.spool.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	if !e.unlinked {
		err = errors.Join(err, os.Remove(e.spool.Name()))
	}
	if err != nil {
		return fmt.Errorf("closing the spool file: %w", err)
	}
	return nil
}
