// Package people owns the way of Salesloft people onto their topic: polling for what has changed, and receiving webhooks.
//
// The polling loses nothing by itself; webhooks bring most changes sooner, and deletions, which no list shows. Both
// publish one event per change, with one ID.
package people
