package salesloftest

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strconv"
)

// crmIDPattern is a lead or a contact of the CRM, in the long form.
var crmIDPattern = regexp.MustCompile(`^(00Q|003)[0-9A-Za-z]{15}$`)

type fields map[string]json.RawMessage

func (f fields) text(name string) string {
	var value string
	_ = json.Unmarshal(f[name], &value) // anything else counts as unset
	return value
}

// readFields reads a write's body without what only the API sets. It answers a body that is none.
func readFields(w http.ResponseWriter, r *http.Request) (fields, bool) {
	var body fields
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body == nil {
		writeError(w, http.StatusBadRequest, "The body is no JSON object")
		return nil, false
	}
	for _, name := range []string{"id", "created_at", "updated_at"} {
		delete(body, name)
	}
	return body, true
}

// refuse answers 422 if the fields are not valid for the person id (0: a new one).
func (s *Simulator) refuse(w http.ResponseWriter, body fields, id int64) bool {
	if email := body.text("email_address"); email != "" {
		if other := s.people.idByEmail(email); other != 0 && other != id {
			writeInvalid(w, "email_address", "is already taken")
			return true
		}
	}
	if crmID := body.text("crm_id"); crmID != "" {
		if !crmIDPattern.MatchString(crmID) {
			writeInvalid(w, "crm_id", "is invalid")
			return true
		}
		if body.text("crm_id_type") == "" {
			writeInvalid(w, "crm_id_type", "can't be blank")
			return true
		}
	}
	return false
}

func (s *Simulator) getPerson(w http.ResponseWriter, r *http.Request) {
	if p := s.byPath(r); p != nil {
		writeData(w, s.people.render(p))
		return
	}
	writeError(w, http.StatusNotFound, "Not found")
}

func (s *Simulator) byPath(r *http.Request) *person {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil
	}
	return s.people.find(id)
}

func (s *Simulator) createPerson(w http.ResponseWriter, r *http.Request) {
	body, ok := readFields(w, r)
	if !ok {
		return
	}
	if p := s.create(w, body); p != nil {
		writeData(w, s.people.render(p))
	}
}

// create answers what is wrong and returns nil, or returns the new person.
func (s *Simulator) create(w http.ResponseWriter, body fields) *person {
	if body.text("email_address") == "" && (body.text("phone") == "" || body.text("last_name") == "") {
		writeInvalid(w, "email_address", "or phone and last_name must be given")
		return nil
	}
	if s.refuse(w, body, 0) {
		return nil
	}
	delete(body, "crm_id_type")
	// A person has nothing but what was sent: every field that the generator would have made up is unset.
	created, err := s.people.create(Change{Count: 1, Fields: blank(body)})
	if err != nil {
		writeError(w, http.StatusInternalServerError, err.Error())
		return nil
	}
	s.notify("person_created", created...)
	return created[0]
}

// blank is a person without values, with the given fields over it.
func blank(body fields) fields {
	var all fields
	if err := json.Unmarshal(generate(0, &person{}), &all); err != nil {
		panic(err) // the generator's own output
	}
	for name, value := range all {
		switch value[0] {
		case '[':
			all[name] = json.RawMessage("[]")
		case 't', 'f':
			all[name] = json.RawMessage("false")
		default:
			all[name] = json.RawMessage("null")
		}
	}
	all["custom_fields"] = json.RawMessage("{}")
	all["success_count"] = json.RawMessage("0")
	all["counts"] = json.RawMessage(
		`{"emails_sent":0,"emails_viewed":0,"emails_clicked":0,"emails_replied_to":0,"emails_bounced":0,"calls":0}`)
	for _, name := range []string{"id", "created_at", "updated_at"} {
		delete(all, name)
	}
	maps.Copy(all, body)
	return all
}

func (s *Simulator) updatePerson(w http.ResponseWriter, r *http.Request) {
	p := s.byPath(r)
	if p == nil {
		writeError(w, http.StatusNotFound, "Not found")
		return
	}
	body, ok := readFields(w, r)
	if !ok {
		return
	}
	if updated := s.change(w, p, body); updated != nil {
		writeData(w, s.people.render(updated))
	}
}

// change answers what is wrong and returns nil, or returns the changed person.
func (s *Simulator) change(w http.ResponseWriter, p *person, body fields) *person {
	if s.refuse(w, body, p.id) {
		return nil
	}
	delete(body, "crm_id_type")
	updated, err := s.people.update(Change{IDs: []int64{p.id}, Fields: body})
	if err != nil { // deleted meanwhile
		writeError(w, http.StatusNotFound, "Not found")
		return nil
	}
	s.notify("person_updated", updated...)
	return updated[0]
}

func (s *Simulator) deletePerson(w http.ResponseWriter, r *http.Request) {
	if p := s.byPath(r); p != nil {
		if removed, err := s.people.remove(Change{IDs: []int64{p.id}}); err == nil {
			s.notify("person_deleted", removed...)
		}
	}
	w.WriteHeader(http.StatusNoContent) // repeatable
}

// upsertPerson finds the person by the key that the body names, and creates one if there is none.
func (s *Simulator) upsertPerson(w http.ResponseWriter, r *http.Request) {
	var body fields
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body == nil {
		writeError(w, http.StatusBadRequest, "The body is no JSON object")
		return
	}
	p, known := s.upsertTarget(body)
	if !known {
		writeInvalid(w, "upsert_key", "is not included in the list")
		return
	}
	for _, name := range []string{"upsert_key", "id", "created_at", "updated_at"} {
		delete(body, name)
	}
	kind := "update"
	if p == nil {
		kind = "create"
		p = s.create(w, body)
	} else {
		p = s.change(w, p, body)
	}
	if p != nil {
		writeData(w, map[string]any{"upsert_type": kind, "person": s.people.render(p)})
	}
}

func (s *Simulator) upsertTarget(body fields) (p *person, known bool) {
	switch body.text("upsert_key") {
	case "id":
		var id int64
		_ = json.Unmarshal(body["id"], &id) // anything else is nobody's
		return s.people.find(id), true
	case "email_address":
		return s.people.find(s.people.idByEmail(body.text("email_address"))), true
	case "crm_id":
		l := parseListing(map[string][]string{"crm_id": {body.text("crm_id")}}, Config{})
		if found, _ := s.people.list(l); len(found) > 0 && body.text("crm_id") != "" {
			return found[0], true
		}
		return nil, true
	}
	return nil, false
}
