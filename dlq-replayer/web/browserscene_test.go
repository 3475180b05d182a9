//go:build browser

package web

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/schemas/wire"
)

var screenshots = flag.String("screenshots", "", "write pictures of the page to this folder, as docs/desk has them")

// TestScreenshots takes the pictures of the documentation: a bad morning, with letters of several reasons.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	if *screenshots == "" {
		t.Skip("it only takes pictures: name a folder with -screenshots")
	}
	b := newBench(t, func(_ *Config, deps *Deps) { deps.Warehouse = warehouseOf(t) })
	b.morning()
	p := b.open(chromium(t))
	defer p.close()
	p.do(chromedp.EmulateViewport(1280, 860))
	p.enter(operatorToken, "")
	p.says("#stats [data-state=open]", "64")
	take := func(name string) {
		picture, err := chromedp.Run(p.within(), chromedp.CaptureScreenshot())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(*screenshots, name+".png"), picture, 0o600))
	}
	take("letters")
	p.visit("#letters?letter=" + b.id(1))
	p.says("dialog .compare", "country")
	take("detail")

	p.visit("#letters?class=" + wire.ReasonUnknownSchema)
	p.settled()
	p.click(".letters thead input")
	p.click("[data-key=every]")
	p.click("#actions [data-action=replay]")
	p.click("dialog details summary")
	p.fill("dialog [name=rate]", "40")
	p.click("[data-key=planner]")
	p.says("dialog .plan", "would be replayed")
	p.fill("dialog [name=reason]", "schema 17 is registered now")
	take("plan")
	p.click(dialog + "form > .buttons [type=submit]")
	p.until(`document.querySelector("dialog progress")?.value > 120`)
	take("running")
	p.says("dialog .run", "done")
	p.visit("#letters?class=" + wire.ReasonCorrupt)
	p.settled()
	p.click(".letters tbody tr:first-child input")
	p.act("park", "asked the source to send it again")
	p.visit("#letters?letter=" + b.id(1))
	p.click("[data-key=reveal]")
	p.fill(dialog+"[name=reason]", "a customer asks")
	p.click(dialog + "[type=submit]")
	p.says("dialog .json", "Zebedee")
	p.do(chromedp.EmulateViewport(1280, 640))
	p.visit("#audit")
	p.do(chromedp.WaitVisible(".audit"))
	take("audit")
	p.media("dark", 1280)
	p.visit("")
	p.settled()
	take("dark")
	p.media("light", 390)
	p.visit("")
	p.settled()
	eval[bool](p, `(document.querySelector("#stats").scrollIntoView(), true)`)
	take("narrow")
}

// morning are some hundreds of letters of the last hours.
func (b *bench) morning() {
	b.t.Helper()
	now := time.Now()
	messages := map[string]string{
		wire.ReasonValidation: "field updated_at: it must equal source_version", wire.ReasonUnknownSchema: "schema 17 is not in the registry",
		wire.ReasonCorrupt: "field contact_restrictions: the value ends within it", clickhousesink.ReasonRejected: "column owner_id: the value does not fit",
	}
	var letters []consume.Poison
	add := func(reason string, ago time.Duration) {
		letter := b.person(int64(len(letters)+1), reason)
		letter.Message, letter.Failed = messages[reason], now.Add(-ago)
		letters = append(letters, letter)
	}
	add(wire.ReasonValidation, 4*time.Minute)
	for i := range 360 { // a producer with a new schema, an hour ago
		add(wire.ReasonUnknownSchema, 70*time.Minute-time.Duration(i*i%4001)*time.Second)
	}
	for i := range 280 {
		reason := []string{wire.ReasonValidation, wire.ReasonValidation, wire.ReasonCorrupt, clickhousesink.ReasonRejected}[i%4]
		add(reason, time.Duration(3+i*i%420)*time.Minute)
	}
	b.write(letters...)
	b.capped(wire.ReasonUnknownSchema)
}
