//go:build browser

package web

import (
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

// byKeyboard signs in and replays a letter without a mouse. Each stop on the way shows that it has the focus.
func byKeyboard(b *bench, open func() *tab) {
	b.people(2)
	p := open()
	p.visit("")
	p.do(chromedp.WaitVisible("#token"))
	p.until(`document.activeElement.id === "token"`)
	p.keys(operatorToken + kb.Enter)
	p.do(chromedp.WaitVisible("#who .badge"))
	p.settled()
	to := func(selector string) {
		for range 60 {
			if eval[bool](p, `document.activeElement.matches(`+quote(selector)+`)`) {
				return
			}
			p.keys(kb.Tab)
			require.NotEqual(b.t, "none", eval[string](p, `document.activeElement === document.body ? "body" : getComputedStyle(document.activeElement).outlineStyle`),
				"the focus must be seen on %s", eval[string](p, `document.activeElement.outerHTML.slice(0, 200)`))
		}
		require.Fail(b.t, "the tab key does not reach "+selector, p.text())
	}
	to("#skip")
	p.keys(kb.Enter)
	p.until(`document.activeElement.id === "main"`)
	to("[name=key]")
	p.keys("salesloft:1" + kb.Enter)
	p.says("#chips", "key: salesloft:1")
	to("[data-key='chip key']")
	p.keys(kb.Enter)
	p.until(`document.querySelector("#chips").childElementCount === 0`)
	require.False(b.t, eval[bool](p, `document.activeElement === document.body`), "the focus must not be lost with what had it")
	to("#chart .bar")
	p.keys(kb.ArrowLeft)
	require.True(b.t, eval[bool](p, `document.activeElement.matches(".bar") && document.activeElement.nextElementSibling.matches(".bar")`))
	to("[data-key='row " + b.id(1) + "']")
	p.keys(kb.Enter)
	p.says("dialog .json", `"person_id": 1`)
	to("dialog [data-action=replay]")
	p.keys(kb.Enter)
	p.says(dialog+".plan", "1 letter would be replayed")
	p.until(`document.activeElement.matches("[name=reason]")`)
	p.keys("by keyboard")
	to(dialog + "[type=submit]")
	p.keys(kb.Enter)
	p.says(dialog+".run", "done")
	p.until(`document.activeElement.matches("[data-key=closer]")`)
	p.keys(kb.Escape)
	p.until(`document.querySelectorAll("dialog").length === 1`)
	p.keys(kb.Escape)
	p.gone("dialog")
	p.until(shownRows + ` === 1`)
	require.False(b.t, eval[bool](p, `document.activeElement === document.body`))
	require.Equal(b.t, map[string]int{"salesloft:1": 1}, b.sent())
}

// reaching looks at every view as a narrow and a wide screen, light and dark, and a screen reader have it.
func reaching(b *bench, open func() *tab) {
	b.write(b.person(1, wire.ReasonValidation), b.person(2, wire.ReasonCorrupt), b.person(3, wire.ReasonUnknownSchema),
		consume.Poison{Record: &kgo.Record{Topic: schemas.ForecastTopic, Key: []byte(strings.Repeat("f|2026_Q1|TF:2026-01-05|7:00E|net_new_arr|quota", 2)), Value: []byte("x")}, Stage: consume.StageDecode, Reason: wire.ReasonMagic, Message: strings.Repeat("unbroken", 20), Failed: version})
	p := open().enter(operatorToken, "")
	p.until(shownRows + ` === 4`)
	p.click(".letters tbody tr:first-child input")
	p.act("park", strings.Repeat("averylongreason", 10))
	for _, view := range []struct{ address, ready, step string }{
		{"#letters?state=all", "table.letters", ".letters tbody tr:first-child input"}, {"#letters?key=none", ".empty", ""},
		{"#letters?letter=" + b.id(1), "dialog .json", ""}, {"#letters?letter=" + b.id(2), "dialog .hex", ""},
		{"#letters?letter=" + b.id(1), "dialog .json", "dialog [data-action=repair]"}, {"#letters?letter=" + b.id(1), "dialog .json", "dialog [data-action=discard]"},
		{"#runs", ".runs", "#list-runs summary"}, {"#audit", ".audit", ""},
	} {
		for _, width := range []int64{390, 1400} {
			for _, scheme := range []string{"light", "dark"} {
				p.media(scheme, width)
				p.visit(view.address)
				p.do(chromedp.WaitVisible(view.ready))
				if view.step != "" {
					p.click(view.step)
				}
				what := fmt.Sprint(view, width, scheme)
				require.Empty(b.t, p.wide(), what)
				require.Empty(b.t, p.faint(), what)
				require.Empty(b.t, p.nameless(), what)
			}
		}
	}
	p.media("light", 1400)
	p.visit("")
	ground := `getComputedStyle(document.body).backgroundColor`
	light := eval[string](p, ground)
	p.do(chromedp.SetValue("#theme", "dark"))
	eval[bool](p, `document.querySelector("#theme").dispatchEvent(new Event("change"))`)
	dark := eval[string](p, ground)
	require.NotEqual(b.t, light, dark)
	p.visit("")
	require.Equal(b.t, dark, eval[string](p, ground), "the choice is kept")
}
