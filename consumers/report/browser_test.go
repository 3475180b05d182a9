//go:build browser

package report

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdpnetwork "github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

var shots = flag.String("shots", "", "folder to put pictures of the page into")

// TestPage looks at the page as it is served, of a good week, of a bad day and of an empty warehouse, on a wide and on a narrow screen,
// light and dark, and on paper.
func TestPage(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	for name, scene := range map[string]struct {
		scenes []string
		says   []string
	}{
		"good":  {[]string{goodWeek}, []string{"Healthy", "None is open.", "all 3 rules"}},
		"bad":   {[]string{goodWeek, badDay}, []string{"8 problems", "300 dead letters open", "revstream-forecast is behind", "contract people_v1 is broken: primary_key"}},
		"empty": {nil, []string{"nothing has been exported", "No lag was sampled: run warehouse watch."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(NewHandler(newBench(t, scene.scenes...).Reporter, pipelinetest.Logger(t)))
			defer server.Close()
			p := open(t, browser, server.URL)
			for _, width := range []int64{1280, 390} {
				for _, scheme := range []string{"light", "dark"} {
					p.look(width, "screen", scheme)
					text := eval[string](p, "document.body.innerText")
					for _, says := range scene.says {
						require.Contains(t, text, says)
					}
					p.sound(fmt.Sprint(width, scheme))
					p.shoot(fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
				}
			}
			require.NotEqual(t, eval[string](p, ground), p.look(1280, "screen", "light").ground, "dark is another colour")
			p.look(800, "print", "dark")
			p.sound("on paper")
			require.Equal(t, "rgb(255, 255, 255)", eval[string](p, ground))
			p.close()
			require.Zero(t, eval[int](p, "document.scripts.length"))
		})
	}
}

const ground = `getComputedStyle(document.body).backgroundColor`

// chromium starts a browser that reaches this machine alone.
func chromium(t *testing.T) context.Context {
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
	return ctx
}

// tab is somebody at the page. Whatever the console says, and any request for anything else, fails the test.
type tab struct {
	t      *testing.T
	ctx    func() context.Context
	ground string

	mu       sync.Mutex // guards problems, which its listeners write
	problems []string
}

func open(t *testing.T, browser context.Context, address string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: func() context.Context { return ctx }}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*cdpnetwork.EventRequestWillBeSent); ok && e.Request.URL != address+"/" && !strings.HasPrefix(e.Request.URL, "data:") {
			p.problem("a request for " + e.Request.URL)
		}
	}))
	p.do(chromedp.EmulateViewport(1280, 800))
	_, err := chromedp.Call(ctx, cdpnetwork.Enable, cdpnetwork.EnableParams{})
	require.NoError(t, err)
	messages := chromedp.Console(ctx)
	go func() { // ends with the tab
		for m, err := range messages {
			if err != nil {
				return
			}
			p.problem(m.String())
		}
	}()
	p.do(chromedp.Navigate(address + "/"))
	return p
}

func (p *tab) problem(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, text)
}

func (p *tab) close() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(p.t, p.problems, "the console must be clean, and nothing else be asked for")
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx(), time.Minute)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...))
}

func eval[T any](p *tab, script string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx(), chromedp.Evaluate[T](script))
	require.NoError(p.t, err, script)
	return value
}

// look is what the system would like.
func (p *tab) look(width int64, media, scheme string) *tab {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, 900))
	_, err := chromedp.Call(p.ctx(), emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(p.t, err)
	p.ground = eval[string](p, ground)
	return p
}

// sound holds what can be measured of a page that is good to read.
func (p *tab) sound(what string) {
	p.t.Helper()
	require.Empty(p.t, eval[[]string](p, faint), "%s: too faint", what)
	require.Empty(p.t, eval[[]string](p, pale), "%s: too pale", what)
	require.Empty(p.t, eval[[]string](p, wide), "%s: too wide", what)
	require.Empty(p.t, eval[[]string](p, `[...document.querySelectorAll("figure > svg")].filter((svg) => !svg.querySelector("title")?.textContent || !svg.querySelector("desc")?.textContent || svg.getAttribute("role") !== "img").map((svg) => svg.outerHTML.slice(0, 80))`), "%s: without a name", what)
	require.Empty(p.t, eval[[]string](p, `[...document.querySelectorAll("[id]")].map((node) => node.id).filter((id, i, all) => all.indexOf(id) !== i)`), "%s: the same ID twice", what)
}

// shoot takes a picture of the whole page, if any is asked for.
func (p *tab) shoot(name string) {
	p.t.Helper()
	if *shots == "" {
		return
	}
	answer, err := chromedp.Call(p.ctx(), cdppage.CaptureScreenshot, cdppage.CaptureScreenshotParams{CaptureBeyondViewport: new(true), Format: cdppage.CaptureScreenshotFormatPng})
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(*shots, name), answer.Data, 0o644))
}

// measure is of two colours, as WCAG has it. The canvas turns any colour into bytes.
const measure = `
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const light = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (node, colour) => {
    const grounds = ["white"];
    for (let at = node; at; at = at.parentElement) grounds.splice(1, 0, getComputedStyle(at).backgroundColor);
    const [back, front] = [light(grounds), light([...grounds, colour])];
    return (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
  };
  const bad = [];
`

// faint are the texts whose contrast is less than 4.5.
const faint = `(() => {` + measure + `
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (walk.currentNode.textContent.trim() === "" || node.closest("style, title, desc") || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const ratio = contrast(node, node.namespaceURI.endsWith("svg") ? style.fill : style.color);
    if (ratio < 4.5) bad.push(ratio.toFixed(2) + " " + walk.currentNode.textContent.trim().slice(0, 40));
  }
  return bad;
})()`

// pale are the marks of charts whose contrast is less than 3.
const pale = `(() => {` + measure + `
  for (const node of document.querySelectorAll(".line, .fill")) {
    const style = getComputedStyle(node);
    const ratio = contrast(node, node.matches(".line") ? style.stroke : style.fill);
    if (ratio < 3) bad.push(ratio.toFixed(2) + " " + node.getAttribute("class"));
  }
  return bad;
})()`

// wide are the elements beyond the right edge, and whether the page scrolls sideways.
const wide = `(() => {
  const bad = document.documentElement.scrollWidth > innerWidth ? ["the page scrolls sideways"] : [];
  for (const node of document.querySelectorAll("body *")) {
    if (node.closest(".scroll *") || !node.checkVisibility()) continue;
    if (node.getBoundingClientRect().right > innerWidth + 1) bad.push(node.tagName + "." + node.getAttribute("class"));
  }
  return bad;
})()`
