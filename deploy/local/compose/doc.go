// Package compose holds docker-compose.yml and what it mounts to what the programs really are. It is a test alone.
package compose
