//go:build browser

package web

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	cdpnetwork "github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// action is a step in the browser.
type action = chromedp.Action[chromedp.Void]

// chromium starts one browser for all tests of TestPage, with a profile of its own and no way out of this machine. It
// returns a function that makes the context of a new profile's tab.
func chromium(t *testing.T) func(t *testing.T) func() context.Context {
	t.Helper()
	path := os.Getenv("CHROME")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); path == "" && err == nil {
			path = found
		}
	}
	require.NotEmpty(t, path, "the tests of the page need Chromium: install Debian's package chromium, or name a browser in CHROME")
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.UserDataDir(t.TempDir()))
	ctx, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), opts...)
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	require.NoError(t, chromedp.Do(ctx))
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // it is killed, then
		stop()
	})
	return func(t *testing.T) func() context.Context {
		t.Helper()
		ctx, cancel := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
		t.Cleanup(cancel)
		return func() context.Context { return ctx }
	}
}

// tab is somebody at the page.
type tab struct {
	t      *testing.T
	base   string
	within func() context.Context

	mu       sync.Mutex // guards problems, which its listener writes
	problems []string
	foreseen []string // parts of problems that the test causes
}

// open opens a tab of a new profile. Whatever its console says, and any request to another host, fails the test.
func (b *bench) open(profile func(t *testing.T) func() context.Context) *tab {
	b.t.Helper()
	p := &tab{t: b.t, base: b.base, within: profile(b.t)}
	require.NoError(b.t, chromedp.Listen(p.within(), p.listen))
	p.do(chromedp.EmulateViewport(1400, 1000))
	_, err := chromedp.Call(p.within(), cdpnetwork.Enable, cdpnetwork.EnableParams{})
	require.NoError(b.t, err)
	messages := chromedp.Console(p.within())
	go func() { // ends with the tab
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type != "info" && m.Type != "debug" && m.Type != "log" {
				p.problem(m.String() + " " + m.URL)
			}
		}
	}()
	return p
}

// close says what was wrong. It comes before the end of the test, with which the server goes away.
func (p *tab) close() {
	p.t.Helper()
	p.do(chromedp.Navigate("about:blank"))
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(p.t, p.problems, "the console must be clean, and no other host be asked")
}

func (p *tab) listen(event any) {
	if e, ok := event.(*cdpnetwork.EventRequestWillBeSent); ok && !strings.HasPrefix(e.Request.URL, p.base+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
		p.problem("a request to another host: " + e.Request.URL)
	}
}

func (p *tab) problem(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range p.foreseen {
		if strings.Contains(text, part) {
			return
		}
	}
	p.problems = append(p.problems, text)
}

// expect takes it that the browser reports failed requests with this in their report.
func (p *tab) expect(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.foreseen = append(p.foreseen, part)
}

// do takes steps, within the test's patience.
func (p *tab) do(steps ...action) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.within(), patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		require.NoError(p.t, err, "%s", p.text())
	}
}

// text is what the page says, for a test that fails.
func (p *tab) text() string {
	text, err := chromedp.Run(p.within(), chromedp.Evaluate[string](`location.href + "\n" + (document.querySelector("dialog:last-of-type") ?? document.querySelector("#view-letters:not([hidden]) #list-letters") ?? document.body).innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

func eval[T any](p *tab, script string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.within(), chromedp.Evaluate[T](script))
	require.NoError(p.t, err, script)
	return value
}

// until waits until a script is true. While a page is loading, it is not.
func (p *tab) until(script string) {
	p.t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if is, err := chromedp.Run(p.within(), chromedp.Evaluate[bool]("Boolean("+script+")")); err == nil && is {
			return
		}
		select {
		case <-late:
			require.Fail(p.t, "waiting until "+script, p.text())
		case <-tick.C:
		}
	}
}

// says waits until an element holds a text.
func (p *tab) says(selector, text string) {
	p.t.Helper()
	p.until(`document.querySelector(` + quote(selector) + `)?.innerText.includes(` + quote(text) + `)`)
}

// gone waits until there is no such element.
func (p *tab) gone(selector string) {
	p.t.Helper()
	p.until("!document.querySelector(" + quote(selector) + ")")
}

func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(text) + "'"
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(selector))
}

// fill puts a text into a field in the place of what it holds, by keys.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.do(chromedp.Focus(selector))
	eval[bool](p, `document.activeElement.select?.() ?? true`)
	p.do(chromedp.KeyEvent("\b" + text))
}

func (p *tab) keys(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// visit opens a view; the address decides on it.
func (p *tab) visit(address string) {
	p.t.Helper()
	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(p.base+"/"+address))
}

// enter signs in, in the view that the address names.
func (p *tab) enter(token, address string) *tab {
	p.t.Helper()
	p.visit(address)
	p.do(chromedp.WaitVisible("#token"), chromedp.SendKeys("#token", token), chromedp.Click("button[type=submit]"), chromedp.WaitVisible("#who .badge"))
	p.settled()
	return p
}

// settled waits until the page has shown what its address names.
func (p *tab) settled() {
	p.t.Helper()
	p.until(`document.querySelector("#table")?.getAttribute("aria-busy") !== "true" && document.querySelector("#table").childElementCount > 0`)
}

// media is what the system would like.
func (p *tab) media(scheme string, width int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, cmp.Or(map[int64]int64{390: 844, 1280: 860}[width], 1000)))
	_, err := chromedp.Call(p.within(), emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(p.t, err)
}

// nameless are the roles of the controls that a screen reader could not name, of what it sees.
func (p *tab) nameless() (roles []string) {
	p.t.Helper()
	tree, err := chromedp.Call(p.within(), accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	require.NoError(p.t, err)
	controls := map[string]bool{"button": true, "link": true, "textbox": true, "combobox": true, "checkbox": true, "spinbutton": true, "dialog": true, "progressbar": true, "DateTime": true}
	seen := 0
	for _, node := range tree.Nodes {
		if node.Ignored || node.Role == nil || !controls[axText(node.Role)] {
			continue
		}
		seen++
		if strings.TrimSpace(axText(node.Name)) == "" {
			roles = append(roles, axText(node.Role))
		}
	}
	require.Positive(p.t, seen)
	return roles
}

func axText(value *accessibility.Value) string {
	if value == nil {
		return ""
	}
	return strings.Trim(string(value.Value), `"`)
}

// faint are the texts whose contrast with what is behind them is less than WCAG's AA asks for.
func (p *tab) faint() []string {
	p.t.Helper()
	return eval[[]string](p, contrasts)
}

// contrasts measures what is on the screen, disabled controls excepted. The canvas turns any colour into bytes.
const contrasts = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const top = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  const bad = [];
  const walk = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (walk.currentNode.textContent.trim() === "" || node.closest(".hidden, .skip, :disabled, option, script, noscript") || !node.checkVisibility()) continue;
    const grounds = [];
    for (let at = node; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
    const style = getComputedStyle(node);
    const back = light(paint(["white", ...grounds]));
    const text = light(paint(["white", ...grounds, node.namespaceURI.endsWith("svg") ? style.fill : style.color]));
    const ratio = (Math.max(back, text) + 0.05) / (Math.min(back, text) + 0.05);
    if (ratio < 4.5) bad.push(ratio.toFixed(2) + " " + node.tagName + "." + node.getAttribute("class") + " " + walk.currentNode.textContent.trim().slice(0, 40));
  }
  return bad;
})()`

// wide are the elements that reach beyond the page's right edge, and whether the page scrolls sideways.
func (p *tab) wide() []string {
	p.t.Helper()
	return eval[[]string](p, `(() => {
  const bad = document.documentElement.scrollWidth > innerWidth ? ["the page scrolls sideways"] : [];
  for (const node of document.querySelectorAll("body *")) {
    if (node.closest(".scroll *, pre *, .hidden, .skip") || !node.checkVisibility()) continue;
    if (node.getBoundingClientRect().right > innerWidth + 1) bad.push(node.tagName + "." + node.getAttribute("class"));
  }
  return bad;
})()`)
}
