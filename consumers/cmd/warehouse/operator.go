package main

import (
	"fmt"
	"os"
	"os/user"
)

// operator is who runs the process. In a container the user may have a number alone.
func operator() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
