package claritest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Salts keep the random numbers of unrelated things apart.
const (
	saltJob uint64 = iota + 1
	saltUser
	saltEntry
	saltPick
)

// mix hashes numbers into one (splitmix64 of each in turn).
func mix(h uint64, values ...uint64) uint64 {
	for _, v := range values {
		h += v + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

func hashString(s string) uint64 {
	h := uint64(0)
	for i := range len(s) {
		h = mix(h, uint64(s[i]))
	}
	return h
}

// appendDigits appends an amount: mostly money as Python prints it, some of it negative, in cents, with an exponent or with more digits than a double holds.
func appendDigits(b []byte, h uint64) []byte {
	units := int64(h >> 40 % 2_000_000)
	switch shape := h % 200; {
	case shape < 80:
		return append(strconv.AppendInt(b, units-units%500, 10), ".0"...)
	case shape < 160:
		return appendPadded(append(strconv.AppendInt(b, units, 10), '.'), h>>20%100, 2)
	case shape < 180:
		return strconv.AppendInt(b, units, 10)
	case shape < 188:
		return append(b, '0')
	case shape < 196:
		return fmt.Appendf(b, "-%d.%02d", units+1, h>>20%100)
	case shape < 198:
		return fmt.Appendf(b, "%d.%09d", h>>12%80_000_000, h>>20%1_000_000_000)
	case shape < 199:
		return fmt.Appendf(b, "%de3", units%900+1)
	default:
		return fmt.Appendf(b, "0.%d", units%9+1)
	}
}

var (
	firstNames = []string{"José", "Zoë", "Anna", "李娜", "Øyvind", "Siobhán", "Юлия", "محمد", "Nguyễn", "Wei", "Chloe", "Ravi", "Łukasz", "さくら", "D'Arcy"}
	lastNames  = []string{"García", "O'Brien", "Müller", "Smith", "Đặng", "Åkesson", "Иванова", "van den Berg", "王", "Nakamura", "N'Diaye", "\"Q\" Public"}
	levels     = []string{"CEO", "VP", "Director", "Manager", "Sales Rep"}
	regions    = []string{"East", "West", "EMEA", "APAC", "São Paulo"}
)

const (
	reports      = 8 // of each manager
	firstAccount = 280627

	unknownUser = 10_000_000 // from this index on there is nobody
)

func userID(i int) string { return string(appendUserID(nil, i)) }

func appendUserID(b []byte, i int) []byte {
	b = append(strconv.AppendInt(b, int64(firstAccount+i), 10), ":00E4M"...)
	return append(appendPadded(b, uint64(i), 10), "UAS"...)
}

// appendPadded appends a number in at least so many digits.
func appendPadded(b []byte, n uint64, digits int) []byte {
	limit := uint64(1)
	for range digits - 1 {
		limit *= 10
	}
	for ; limit > 1 && n < limit; limit /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendUint(b, n, 10)
}

// userIndex is the inverse of userID.
func (s *Simulator) userIndex(id string) (int, bool) {
	account, _, _ := strings.Cut(id, ":")
	n, err := strconv.Atoi(account)
	i := n - firstAccount
	return i, err == nil && i >= 0 && i < s.cfg.Users && userID(i) == id
}

type user struct {
	UserID              string  `json:"userId"`
	CRMID               *string `json:"crmId"`
	Email               *string `json:"email"`
	Name                *string `json:"name"`
	HierarchyID         string  `json:"hierarchyId"`
	HierarchyName       string  `json:"hierarchyName"`
	ParentHierarchyID   *string `json:"parentHierarchyId"`
	ParentHierarchyName *string `json:"parentHierarchyName"`
	ScopeID             any     `json:"scopeId"`
}

// user is the i-th; 0 is at the top of the hierarchy.
func (s *Simulator) user(i int) user {
	h := mix(s.cfg.Seed, saltUser, uint64(i))
	name := firstNames[h%uint64(len(firstNames))] + " " + lastNames[h>>8%uint64(len(lastNames))]
	email, crmID := fmt.Sprintf("rep%d@example.com", i), fmt.Sprintf("0054M%010dQAA", i)
	u := user{
		UserID: userID(i), Name: &name, Email: &email, CRMID: &crmID, HierarchyID: hierarchyID(i), HierarchyName: s.hierarchyName(i),
		ScopeID: strconv.Itoa(1905+i) + "::MGR",
	}
	if i > 0 {
		parent := (i - 1) / reports
		id, name := hierarchyID(parent), s.hierarchyName(parent)
		u.ParentHierarchyID, u.ParentHierarchyName = &id, &name
	}
	switch h >> 16 % 16 {
	case 0:
		u.Name = nil
	case 1:
		u.Email = nil
	case 2:
		u.CRMID = nil
	case 3:
		u.ScopeID = map[string]any{"id": 1905 + i, "type": "MGR"}
	}
	return u
}

func hierarchyID(i int) string { return "h" + strconv.Itoa(i) }

func (s *Simulator) hierarchyName(i int) string {
	level := 0
	for up := i; up > 0; up = (up - 1) / reports {
		level++
	}
	return levels[min(level, len(levels)-1)] + " - " + regions[i%len(regions)]
}

// isQuota tells whether the field holds quotas: the last of several does.
func (s *Simulator) isQuota(field int) bool { return s.cfg.Fields > 1 && field == s.cfg.Fields-1 }

func (s *Simulator) field(i int) (id, name, typ string) {
	known := []string{"Net Commit", "Best Case", "Pipeline"}
	switch {
	case s.isQuota(i):
		return "fc_quota", "Quota", "NUMERIC"
	case i < len(known):
		return "fc_" + strings.ReplaceAll(strings.ToLower(known[i]), " ", "_"), known[i], "NUMERIC"
	}
	return fmt.Sprintf("fc_field_%03d", i), fmt.Sprintf("Field %d", i), "CURRENCY"
}

func (s *Simulator) fieldIndex(id string) (int, bool) {
	for i := range s.cfg.Fields {
		if have, _, _ := s.field(i); have == id {
			return i, true
		}
	}
	return 0, false
}

// entryKey identifies an entry.
type entryKey struct {
	forecast    string
	quarter     quarter
	week        int64 // Unix seconds of its first day
	user, field int
}

// entry is what an element of the entries list says. values are by kind; an empty one is absent.
type entry struct {
	values    map[string]string
	updatedOn int64 // epoch ms, 0 for none
	updatedBy int
	byNumber  bool // updatedBy is a JSON number
	currency  bool // has a currency
}

// generate is an entry that nobody has updated through Update. It may say that it was updated, the day before its week.
func (s *Simulator) generate(k entryKey, into *entry) {
	h := mix(s.cfg.Seed, saltEntry, hashString(k.forecast), uint64(k.quarter), uint64(k.week), uint64(k.user), uint64(k.field))
	into.updatedOn = 0
	if h>>4%4 == 0 {
		into.updatedOn = time.Unix(k.week, 0).UnixMilli() - int64(h>>16%86_400_000) - 1
	}
	into.updatedBy, into.byNumber, into.currency = firstAccount+int(h>>8%100), h>>12%8 == 0, h>>24%16 != 0
	clear(into.values)
	digits := func(salt uint64) string {
		var room [40]byte
		return string(appendDigits(room[:0], mix(h, salt)))
	}
	if s.isQuota(k.field) {
		into.values["quota"] = digits(0)
		return
	}
	into.values["forecast"] = digits(1)
	into.values["crm_total"] = digits(2)
	into.values["crm_closed"] = digits(3)
	if h>>32%4 == 0 {
		into.values["adjustment"] = digits(4)
	}
}
