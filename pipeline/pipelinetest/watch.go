package pipelinetest

import (
	"context"
	"encoding/binary"
	"net"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Watch is an option of a client that shows each request before it is sent.
func Watch(see func(kmsg.Request)) kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &watchedConn{conn, see}, nil
	})
}

type watchedConn struct {
	net.Conn
	see func(kmsg.Request)
}

// Write gets a request whole, as the client writes it: its size, its key and
// version, a correlation ID, the client's name, tags if the version is flexible,
// and the body.
func (c *watchedConn) Write(frame []byte) (int, error) {
	req := kmsg.RequestForKey(int16(binary.BigEndian.Uint16(frame[4:])))
	req.SetVersion(int16(binary.BigEndian.Uint16(frame[6:])))
	body := 14 + max(0, int(int16(binary.BigEndian.Uint16(frame[12:])))) // a missing name has the size -1
	if req.IsFlexible() {
		body++ // the client sends no tags
	}
	if err := req.ReadFrom(frame[body:]); err != nil {
		return 0, err
	}
	c.see(req)
	return c.Conn.Write(frame)
}
