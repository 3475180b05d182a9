package schemas

import (
	"embed"
	"io/fs"
)

//go:embed contracts/*.yaml subscribers/*.yaml
var declared embed.FS

// Contracts is the folder of what BI was promised, a file for each contract: package contract reads it.
func Contracts() fs.FS { return folder("contracts") }

// Subscribers is the folder of who reads which fields of a topic, a file for each of them: package compat reads it.
func Subscribers() fs.FS { return folder("subscribers") }

func folder(name string) fs.FS {
	sub, err := fs.Sub(declared, name)
	if err != nil {
		panic(err) // the name is no path
	}
	return sub
}
