package web

import (
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
)

// The page: HTML, CSS and JavaScript, as they are.
//
//go:embed page
var files embed.FS

const (
	indexPage  = "page/index.html"
	signInPage = "page/sign-in.html"
)

var signInTemplate = template.Must(template.ParseFS(files, signInPage))

// static serves the page's files, and nothing else: neither folders nor the pages themselves.
func static() (http.Handler, error) {
	folder, err := fs.Sub(files, "page")
	if err != nil {
		return nil, err
	}
	served := http.StripPrefix("/static/", http.FileServerFS(folder))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/static/")
		info, err := fs.Stat(folder, name)
		if err != nil || info.IsDir() || strings.HasSuffix(name, ".html") {
			http.NotFound(w, r)
			return
		}
		// A new release is seen at once; what has not changed is small.
		w.Header().Set("Cache-Control", "no-cache")
		served.ServeHTTP(w, r)
	}), nil
}
