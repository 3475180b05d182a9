//go:build browser

package web

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/chromedp/cdproto/cdp"
	cdpnetwork "github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// TestPage uses the page as people do, in one browser. What its tests share is the browser's process alone.
func TestPage(t *testing.T) {
	t.Parallel()
	profile := chromium(t)
	for name, test := range map[string]func(*bench, func() *tab){
		"sign-in": signingIn, "filter": filtering, "paging": paging, "new letters": arriving, "inspect": inspecting, "replay": replaying,
		"repair": repairing, "decide": deciding, "viewer": viewing, "two operators": together, "stop and resume": stopping,
		"session expiry": expiring, "stopped consumer": alarming, "keyboard": byKeyboard, "reach": reaching,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tabs []*tab
			b := newBench(t, func(cfg *Config, deps *Deps) {
				if name == "inspect" {
					deps.Warehouse = warehouseOf(t)
				}
				if name == "session expiry" {
					cfg.SessionIdle, cfg.SessionMax = 3*time.Second, 3*time.Second
				}
			})
			test(b, func() *tab {
				p := b.open(profile)
				tabs = append(tabs, p)
				return p
			})
			for _, p := range tabs {
				p.close()
			}
		})
	}
}

const (
	shownRows = `document.querySelectorAll("table.letters tbody tr").length`
	dialog    = "dialog:last-of-type "
)

func signingIn(b *bench, open func() *tab) {
	b.people(2)
	p := open()
	p.visit("#letters?class=validation&key=salesloft%3A2")
	p.do(chromedp.WaitVisible("#token"))
	require.Empty(b.t, p.nameless())
	require.Empty(b.t, p.faint())
	p.fill("#token", "not-the-token-of-anybody")
	p.click("button[type=submit]")
	p.says("#error", "not one of the desk's")
	p.fill("#token", operatorToken)
	p.click("button[type=submit]")
	p.says("#who", "operator")
	p.until(shownRows + ` === 1`)
	p.says("#chips", "key: salesloft:2")

	p.click("#sign-out")
	p.do(chromedp.WaitVisible("#token"))
	p.visit("")
	p.do(chromedp.WaitVisible("#token"))
	require.Equal(b.t, b.base+"/sign-in", eval[string](p, "location.href"))

	p.enter(operatorToken, "#letters?key=salesloft%3A2")
	_, err := chromedp.Call(p.within(), cdpnetwork.ClearBrowserCookies, cdp.Empty{})
	require.NoError(b.t, err)
	p.expect("401 (Unauthorized)")
	p.click("#stats [data-state=parked]")
	p.says("dialog.expired", "You have been signed out")
}

// mixed are letters that fail for two reasons, from two groups of minutes.
func (b *bench) mixed(n int) {
	var letters []consume.Poison
	for i := range n {
		letters = append(letters, b.person(int64(i+1), []string{wire.ReasonValidation, wire.ReasonUnknownSchema, wire.ReasonUnknownSchema}[i%3]))
	}
	b.write(letters...)
}

func filtering(b *bench, open func() *tab) {
	b.mixed(30)
	p := open().enter(operatorToken, "")
	p.until(shownRows + ` === 30`)
	p.says("#stats [data-state=open]", "30")

	p.click("[data-key='legend validation']")
	p.until(shownRows + ` === 10`)
	p.says("#chips", "reason: validation")
	require.Contains(b.t, eval[string](p, "location.hash"), "class=validation")
	p.do(chromedp.Reload())
	p.settled()
	p.until(shownRows + ` === 10`)
	p.click("[data-key='chip class']")
	p.until(shownRows + ` === 30`)

	eval[bool](p, `document.querySelector("#chart .bar:last-of-type").dispatchEvent(new MouseEvent("click", { bubbles: true }))`)
	p.until(shownRows + ` < 30 && ` + shownRows + ` > 0`)
	p.says("#chips", "since:")
	p.do(chromedp.NavigateBack())
	p.until(shownRows + ` === 30`)

	p.fill("[name=key]", "salesloft:3")
	p.keys(kb.Enter)
	p.until(shownRows + ` === 1`)
	p.click("#filter [type=reset]")
	p.until(shownRows + ` === 30`)

	p.fill("[name=where]", `value.person_id > 25 and reason == "validation"`)
	p.click("#filter [type=submit]")
	p.until(shownRows + ` === 1`)
	p.expect("400 (Bad Request)")
	p.fill("[name=where]", `value.person_id > > 25`)
	p.click("#filter [type=submit]")
	p.until(`!document.querySelector("#where-error").hidden`)
	require.Regexp(b.t, `(?s)person_id > > 25.*\n.*\^`, eval[string](p, `document.querySelector("#where-error").textContent`))
	require.Equal(b.t, "pre", eval[string](p, `getComputedStyle(document.querySelector("#where-error")).whiteSpace`))

	p.fill("[name=where]", "")
	p.fill("[name=key]", "salesloft:99")
	p.click("#filter [type=submit]")
	p.says("#table", "No letter matches this filter.")
	p.click("#stats [data-state=parked]")
	p.until(`location.hash.includes("state=parked")`)
}

func paging(b *bench, open func() *tab) {
	b.people(120)
	p := open().enter(operatorToken, "")
	p.says("#letters-title", "120 letters")
	p.says("#pages", "1–50 of 120")
	first := eval[string](p, `document.querySelector(".letters tbody tr").dataset.id`)
	p.click("[data-key=next]")
	p.says("#pages", "51–100 of 120")
	p.click("[data-key=next]")
	p.says("#pages", "101–120 of 120")
	require.Equal(b.t, 20, eval[int](p, shownRows))
	p.click("[data-key=previous]")
	p.says("#pages", "51–100 of 120")
	p.click("[data-key=first]")
	p.says("#pages", "1–50 of 120")
	require.Equal(b.t, first, eval[string](p, `document.querySelector(".letters tbody tr").dataset.id`))
	p.click("[data-key=sort]")
	p.until(`document.querySelector(".letters tbody tr").innerText.includes("salesloft:1\n")`)
}

func arriving(b *bench, open func() *tab) {
	b.people(3)
	p := open().enter(operatorToken, "")
	p.until(shownRows + ` === 3`)
	p.click(".letters tbody tr:first-child input")
	b.write(b.person(4, wire.ReasonValidation), b.person(5, wire.ReasonValidation))
	p.says("#news", "2 new")
	require.Equal(b.t, 3, eval[int](p, shownRows), "what is read stays where it is")
	require.True(b.t, eval[bool](p, `document.querySelector(".letters tbody tr:first-child input").checked`))
	p.says("#letters-title", "5 letters")
	p.click("#news button")
	p.until(shownRows + ` === 5`)
	p.says("#stats [data-state=open]", "5")
}

// warehouseOf puts a row of the first person into a ClickHouse, which differs from the letter in its country.
func warehouseOf(t *testing.T) clickhouse.Conn {
	t.Helper()
	url := pipelinetest.ClickHouse(t)
	pipelinetest.SQL(t, url, "CREATE TABLE people_current (person_id Int64, event_id UUID, source_version DateTime64(6, 'UTC'), updated_at Nullable(DateTime64(6, 'UTC')), first_name Nullable(String), "+
		"country LowCardinality(Nullable(String)), title Nullable(String), do_not_contact Nullable(Bool), version UInt128, is_deleted UInt8) ENGINE = MergeTree ORDER BY person_id")
	pipelinetest.SQL(t, url, "INSERT INTO people_current VALUES (1, '019c21ac-0000-800c-9900-1ea1961f0dc3', '2026-02-01 04:05:06.789012', '2026-02-03 04:05:06.789012', 'Zebedee', 'FR', NULL, NULL, 340282366920938463463374607431768211455, 0)")
	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func inspecting(b *bench, open func() *tab) {
	b.write(b.person(1, wire.ReasonValidation), b.person(2, wire.ReasonCorrupt))
	p := open().enter(operatorToken, "")
	p.click("[data-key='row " + b.id(1) + "']")
	p.says("dialog .json", `"person_id": 1`)
	p.says("dialog .json", `"first_name": "[masked]"`)
	p.says("dialog", "a field is wrong")
	p.says("dialog [aria-label=Headers]", "ce_type")
	p.says("dialog .compare", "ClickHouse: people_current")
	require.Equal(b.t, "event_id source_version country", eval[string](p, `[...document.querySelectorAll("dialog .differs th")].map((th) => th.firstChild.data).join(" ")`))
	p.click("dialog section[aria-label^='Beside'] summary")
	p.says("dialog", "not in the letter")
	p.click("[data-key=reveal]")
	p.fill(dialog+"[name=reason]", "a customer asks")
	p.click(dialog + "[type=submit]")
	p.says("dialog .json", `"first_name": "Zebedee"`)
	p.keys(kb.Escape)
	p.gone("dialog")
	require.NotContains(b.t, eval[string](p, "location.hash"), "letter=")

	p.visit("#letters?letter=" + b.id(2))
	p.says("dialog", "It cannot be decoded:")
	p.says("dialog .hex", fmt.Sprintf("00000000  00 00 00 00 %02x", b.schema))
	require.NotContains(b.t, p.text(), "Zeb")
	p.click("[data-key=reveal]")
	p.fill(dialog+"[name=reason]", "it cannot be decoded")
	p.click(dialog + "[type=submit]")
	p.says("dialog .hex", "bedee")
	p.until(`document.querySelectorAll("dialog .hex mark").length > 0`)

	p.visit("#audit")
	p.until(`[...document.querySelectorAll(".audit tbody tr")].filter((row) => row.innerText.includes("revealed")).length === 2`)
	p.says("#list-audit", "a customer asks")
	p.expect("404 (Not Found)")
	p.visit("#letters?letter=" + schemas.PeopleTopic + "/0/999")
	p.says("dialog", "no dead letter there")
}

// id of the letter of the i-th person.
func (b *bench) id(person int) string {
	b.t.Helper()
	for _, rec := range pipelinetest.ReadAll(b.t, b.cluster, schemas.DLQTopic(schemas.PeopleTopic)) {
		if string(rec.Key) == fmt.Sprintf("salesloft:%d", person) {
			return fmt.Sprintf("%s/%d/%d", schemas.PeopleTopic, rec.Partition, rec.Offset)
		}
	}
	require.Fail(b.t, "there is no such letter")
	return ""
}

// sent are the keys on the topic of people, how often each.
func (b *bench) sent() map[string]int {
	b.t.Helper()
	times := map[string]int{}
	for _, rec := range pipelinetest.ReadAll(b.t, b.cluster, schemas.PeopleTopic) {
		times[string(rec.Key)]++
	}
	return times
}

// act orders what is chosen to be done, and waits until it is.
func (p *tab) act(action, why string) {
	p.t.Helper()
	p.click("#actions [data-action=" + action + "]")
	p.confirm(why)
	p.says("dialog .run", "done")
	p.click("dialog [data-key=closer]")
	p.gone("dialog")
}

// confirm gives the reason, once the plan is there, and acts.
func (p *tab) confirm(why string) {
	p.t.Helper()
	p.says(dialog+".plan", "would be")
	p.fill(dialog+"[name=reason]", why)
	p.click(dialog + "form > .buttons [type=submit]")
}

func replaying(b *bench, open func() *tab) {
	b.mixed(9)
	p := open().enter(operatorToken, "#letters?class=validation")
	p.until(shownRows + ` === 3`)
	p.click(".letters thead input")
	p.says(".chosen", "3 letters chosen")
	p.click("#actions [data-action=replay]")
	p.says(dialog+".plan", "3 letters would be replayed")
	p.says(dialog+".plan", wire.ReasonValidation)
	require.Empty(b.t, b.sent(), "a plan writes nothing")
	p.click(dialog + "form > .buttons [type=submit]")
	require.True(b.t, eval[bool](p, `document.querySelector("dialog [name=reason]").matches(":invalid")`), "a reason is required")
	require.Empty(b.t, b.sent())

	p.confirm("the rule was mended")
	p.says("dialog .run", "done")
	p.says("dialog .run", "3 of 3 letters replayed")
	require.Equal(b.t, map[string]int{"salesloft:1": 1, "salesloft:4": 1, "salesloft:7": 1}, b.sent())
	p.click("dialog [data-key=closer]")
	p.says("#table", "No letter matches this filter.")
	p.says("#stats [data-state=replayed]", "3")

	p.click("#nav-runs")
	p.says("#list-runs", "3 of 3 letters replayed")
	p.says("#list-runs", "the rule was mended")
	p.click("#nav-audit")
	p.until(`[...document.querySelectorAll(".audit tbody tr")].filter((row) => row.innerText.includes("the rule was mended") && row.innerText.includes("operator (token)")).length >= 4`)

	p.visit("#letters") // and all that match
	p.until(shownRows + ` === 6`)
	p.click(".letters tbody tr:first-child input")
	p.click("[data-key=every]")
	p.act("replay", "all of them")
	require.Len(b.t, b.sent(), 9)
	p.says("#table", "No open dead letters")
}

func repairing(b *bench, open func() *tab) {
	b.people(2)
	p := open().enter(operatorToken, "#letters?letter="+b.id(1))
	p.click("dialog [data-action=repair]")
	p.fill(dialog+"[name=patch]", `{"country":`)
	p.click("[data-key=planner]")
	p.says(dialog+".error", "The patch is not JSON")
	p.fill(dialog+"[name=patch]", `{"person_id":"seven"}`)
	p.click("[data-key=planner]")
	p.says(dialog+".plan", "1 letter skipped")
	require.True(b.t, eval[bool](p, `document.querySelector("dialog:last-of-type form > .buttons [type=submit]").disabled`))
	p.fill(dialog+"[name=patch]", `{"country":"DE","emails_sent":9007199254740993}`)
	p.click("[data-key=planner]")
	p.says(dialog+".plan", "1 letter would be repaired and replayed")
	p.click(dialog + ".pairs + p button")
	p.fill(dialog+".pair input:first-of-type", "note")
	p.fill(dialog+".pair input:last-of-type", "mended by hand")
	p.says(dialog+".plan", "Ask first what it would do")
	p.click("[data-key=planner]")
	p.confirm("the country was missing")
	p.says(dialog+".run", "done")

	sent := pipelinetest.ReadAll(b.t, b.cluster, schemas.PeopleTopic)
	require.Len(b.t, sent, 1)
	registry, err := wire.NewRegistry(b.registry)
	require.NoError(b.t, err)
	var got people.Person
	require.NoError(b.t, wire.NewDecoder(people.Schema, registry).Decode(b.t.Context(), sent[0].Value, &got))
	require.Equal(b.t, "DE", *got.Country)
	require.EqualValues(b.t, 9007199254740993, *got.EmailsSent, "no digit is lost on the way")
	require.Contains(b.t, sent[0].Headers, kgo.RecordHeader{Key: "note", Value: []byte("mended by hand")})
	p.click("dialog [data-key=closer]")
	p.says("dialog .timeline", "Replayed with a patch by operator")
	p.says("dialog .timeline", "the country was missing")
}

func deciding(b *bench, open func() *tab) {
	b.people(3)
	p := open().enter(operatorToken, "")
	p.until(shownRows + ` === 3`)
	p.click(".letters thead input")
	p.act("park", "not now")
	p.says("#stats [data-state=parked]", "3")
	p.says("#table", "No open dead letters")
	p.click("#stats [data-state=parked]")
	p.until(shownRows + ` === 3`)
	p.click(".letters tbody tr:first-child input")
	p.act("unpark", "now")
	p.until(shownRows + ` === 2`)

	p.click(".letters thead input")
	p.click("#actions [data-action=discard]")
	p.says(dialog+".plan", "would be discarded")
	p.fill(dialog+"[name=reason]", "test data")
	submit := `document.querySelector("dialog form > .buttons [type=submit]").disabled`
	require.True(b.t, eval[bool](p, submit), "it must be confirmed")
	p.fill(dialog+"[name=confirm]", "discard 3")
	require.True(b.t, eval[bool](p, submit))
	p.fill(dialog+"[name=confirm]", "discard 2")
	p.click(dialog + "form > .buttons [type=submit]")
	p.says("dialog .run", "2 of 2 letters discarded")
	p.click("dialog [data-key=closer]")
	p.says("#stats [data-state=discarded]", "2")
	p.says("#stats [data-state=open]", "1")
	require.Empty(b.t, b.sent())
}

func viewing(b *bench, open func() *tab) {
	b.people(2)
	p := open().enter(viewerToken, "#letters?letter="+b.id(1))
	p.says("#who", "viewer")
	p.says("dialog .json", `"first_name": "[masked]"`)
	require.Zero(b.t, eval[int](p, `document.querySelectorAll("[data-action], [data-key=reveal], table.letters input").length`))
	p.keys(kb.Escape)
	p.gone("dialog")
	p.until(shownRows + ` === 2`)
	p.click(".letters tbody tr:first-child .when")
	p.says("dialog", "salesloft:2")
}

// together lets two operators replay the same letters at once: each letter is sent once, and both see both runs.
func together(b *bench, open func() *tab) {
	b.people(40)
	pair := []*tab{open(), open()}
	for _, p := range pair {
		p.enter(operatorToken, "")
		p.click(".letters tbody tr:first-child input")
		p.click(".letters thead input")
		p.click("#actions [data-action=replay]")
		p.says(dialog+".plan", "40 letters would be replayed")
		p.fill(dialog+"[name=reason]", "the rule was mended")
	}
	for _, p := range pair {
		eval[bool](p, `(document.querySelector("dialog form").requestSubmit(), true)`)
	}
	for _, p := range pair {
		p.until(`/done|interrupted/.test(document.querySelector("dialog .run")?.innerText)`)
		p.click("dialog [data-key=closer]")
		p.says("#table", "No open dead letters")
		p.click("#nav-runs")
		p.until(`document.querySelectorAll("#list-runs > ul > li").length === 2`)
	}
	sent := b.sent()
	require.Len(b.t, sent, 40)
	for key, times := range sent {
		require.Equal(b.t, 1, times, key)
	}
}

func stopping(b *bench, open func() *tab) {
	b.people(30)
	p := open().enter(operatorToken, "")
	p.click(".letters thead input")
	p.click("#actions [data-action=replay]")
	p.click("dialog details summary")
	p.fill("dialog [name=rate]", "2")
	p.click("[data-key=planner]")
	p.says("dialog .plan", "about 15 s")
	p.confirm("slowly")
	p.says("dialog .run", "running")
	p.do(chromedp.WaitVisible("dialog progress"))
	p.click("dialog [data-key^='stop ']")
	p.says("dialog .run", "interrupted")
	p.click("dialog [data-key=closer]")
	require.Less(b.t, len(b.sent()), 30)

	p.click("#nav-runs")
	p.click("[data-key^='resume ']")
	p.fill("dialog [name=reason]", "go on")
	p.click("dialog [type=submit]")
	p.says("#list-runs", "running")
	p.click("#nav-letters")
	p.do(chromedp.WaitVisible("#working progress"))
	p.says("#stats [data-state=replayed]", "30")
	p.gone("#working progress")
	require.Len(b.t, b.sent(), 30)
}

func expiring(b *bench, open func() *tab) {
	b.people(2)
	p := open().enter(operatorToken, "#letters?key=salesloft%3A2")
	p.expect("401 (Unauthorized)")
	p.says("dialog.expired", "You have been signed out")
	p.keys(kb.Escape)
	p.click("dialog.expired a")
	p.do(chromedp.WaitVisible("#token"), chromedp.SendKeys("#token", operatorToken+kb.Enter), chromedp.WaitVisible("#who .badge"))
	p.says("#chips", "key: salesloft:2")
	p.until(shownRows + ` === 1`)
}

func alarming(b *bench, open func() *tab) {
	b.mixed(3)
	b.capped(wire.ReasonValidation)
	p := open().enter(operatorToken, "")
	p.says("#stopped", "people-consumer has stopped reading revenue.people.v1, partition 1")
	p.says("#stopped", "What to do:")
	p.click("#stopped button")
	p.says("#chips", "topic: "+schemas.PeopleTopic)
	p.until(shownRows + ` === 1`)
}

// capped leaves the note of a consumer that its cap has stopped.
func (b *bench) capped(reason string) {
	b.t.Helper()
	note, err := json.Marshal(consume.CapNote{At: time.Now().Add(-10 * time.Minute).UTC(), Reason: reason, Poison: 100, Window: 100})
	require.NoError(b.t, err)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: schemas.PeopleTopic, Partition: 1, At: 18_221, LeaderEpoch: -1, Metadata: string(note)})
	require.NoError(b.t, kadm.NewClient(pipelinetest.Client(b.t, b.cluster)).CommitAllOffsets(b.t.Context(), "people-consumer", offsets))
}
