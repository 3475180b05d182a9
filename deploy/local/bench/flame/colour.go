package flame

import "strings"

// owner is whose code a frame is: what it starts with decides.
type owner struct {
	label, colour string
	prefixes      []string
}

// owners by their first match; the last one takes what is left.
var owners = []owner{
	{"revstream", "#f4a259", []string{"github.com/revstream/"}},
	{"Kafka client", "#8cb369", []string{"github.com/twmb/franz-go"}},
	{"ClickHouse client, HTTP", "#f4e285", []string{"github.com/ClickHouse/", "net/http", "net/textproto", "net/url", "bufio"}},
	{"Avro, hashes", "#e8a0bf", []string{"github.com/twmb/avro", "crypto/"}},
	{"compression", "#b8a1d9", []string{"github.com/klauspost/compress", "github.com/pierrec/lz4", "compress/"}},
	{"memory and garbage collection", "#c9c9c9", []string{
		"runtime.gc", "runtime.malloc", "runtime.newobject", "runtime.makeslice", "runtime.growslice", "runtime.bgsweep", "runtime.bgscavenge",
		"runtime.scan", "runtime.mark", "runtime.greyobject", "runtime.sweep", "runtime.memclr", "runtime.(*mcache)", "runtime.(*mheap)", "runtime.(*mspan)",
	}},
	{"kernel", "#8fb8de", []string{"syscall.", "internal/runtime/syscall", "internal/poll", "runtime.futex", "runtime.epoll", "runtime.netpoll", "net."}},
	{"Go", "#dcd6c8", []string{""}},
}

func colour(function string) string {
	for _, o := range owners {
		for _, prefix := range o.prefixes {
			if strings.HasPrefix(function, prefix) {
				return o.colour
			}
		}
	}
	return owners[len(owners)-1].colour
}
