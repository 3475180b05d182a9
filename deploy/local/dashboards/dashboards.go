// Package dashboards draws Grafana's dashboards: what a panel shows is said here, and how a panel looks in Grafana's JSON once for
// all of them.
package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A Board is a dashboard. Its rows are filled from the left; panels of one row share its 24 columns.
type Board struct {
	UID, Title, Description string
	Rows                    []Row
}

// A Row has a title and panels beside each other.
type Row struct {
	Title  string
	Panels []Panel
}

// A Panel shows series over time, or with Stat one number.
type Panel struct {
	Title, Description string
	Unit               string // one of Grafana's: s, short, ops, bytes, percentunit, none, dateTimeFromNow
	Stat               bool
	Series             []Series
}

// Series are what one expression gives.
type Series struct {
	Expr   string
	Legend string // a template over labels
}

// What a panel is.
const (
	graph = false
	stat  = true
)

// Boards are all, by the name of their file.
func Boards() map[string]Board {
	return map[string]Board{
		"health.json": health, "sources.json": sources, "consumers.json": consumers, "dead-letters.json": deadLetters, "data-quality.json": dataQuality,
	}
}

const (
	columns    = 24
	statHeight = 4
	height     = 8
)

var source = map[string]string{"type": "prometheus", "uid": "prometheus"}

// JSON is the board's file.
func (b Board) JSON() ([]byte, error) {
	var panels []any
	y := 0
	for _, row := range b.Rows {
		panels = append(panels, map[string]any{
			"id": len(panels) + 1, "type": "row", "title": row.Title, "collapsed": false, "panels": []any{}, "gridPos": grid(0, y, columns, 1),
		})
		y++
		width, tallest := columns/len(row.Panels), statHeight
		for i, p := range row.Panels {
			h := height
			if p.Stat {
				h = statHeight
			}
			tallest = max(tallest, h)
			panels = append(panels, p.json(len(panels)+1, grid(i*width, y, width, h)))
		}
		y += tallest
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // expressions have > and <
	encoder.SetIndent("", " ")
	err := encoder.Encode(map[string]any{
		"uid": b.UID, "title": b.Title, "description": b.Description, "tags": []string{"revstream"}, "timezone": "utc", "schemaVersion": 39,
		"version": 1, "editable": false, "refresh": "30s", "time": map[string]string{"from": "now-6h", "to": "now"}, "panels": panels,
		"links": []any{map[string]any{"type": "dashboards", "tags": []string{"revstream"}, "title": "revstream", "asDropdown": false, "keepTime": true}},
	})
	if err != nil {
		return nil, fmt.Errorf("writing the dashboard %s: %w", b.UID, err)
	}
	return text.Bytes(), nil
}

func grid(x, y, w, h int) map[string]int { return map[string]int{"x": x, "y": y, "w": w, "h": h} }

func (p Panel) json(id int, at map[string]int) map[string]any {
	var targets []any
	for i, s := range p.Series {
		targets = append(targets, map[string]any{
			"refId": string(rune('A' + i)), "datasource": source, "expr": s.Expr, "legendFormat": s.Legend, "instant": p.Stat,
		})
	}
	kind := "timeseries"
	defaults := map[string]any{"unit": p.Unit, "min": 0, "custom": map[string]any{"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}}
	options := map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	if p.Stat {
		kind = "stat"
		defaults = map[string]any{"unit": p.Unit}
		options = map[string]any{
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}}, "colorMode": "none", "graphMode": "none", "textMode": "auto",
		}
	}
	return map[string]any{
		"id": id, "type": kind, "title": p.Title, "description": p.Description, "datasource": source, "gridPos": at,
		"fieldConfig": map[string]any{"defaults": defaults, "overrides": []any{}}, "targets": targets, "options": options,
	}
}
