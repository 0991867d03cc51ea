package xe

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// packets checks the stream of a VF's state as it passes, and whether it is complete at its end.
// The stream consists of packets. A packet is a header of 24 bytes and a payload. The header has
// version, type, tile, GT, 32 bits of flags, 64 of offset and 64 of size, little-endian. The first
// packet is a descriptor of the GPU, and the last one is a trailer. packets does not check the
// packets of an unknown version.
//
// Kernel source: drivers/gpu/drm/xe/xe_sriov_packet.c.
type packets struct {
	header  []byte // the bytes of it that have arrived
	payload uint64 // remaining bytes of the current packet
	count   int
	ended   bool // by a trailer
	unknown bool // the stream has another version
	err     error
}

// afterTrailer is the fault of a state whose trailer was written too early.
const afterTrailer = "data follow its trailer: save again (a race of xe 7.3, see \"vmtb help kernels\")"

const (
	headerSize     = 24
	streamVersion  = 1
	typeDescriptor = 1
	typeTrailer    = 2
)

// Write checks the next bytes of the stream. It never fails.
func (p *packets) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && p.err == nil && !p.unknown {
		if p.payload > 0 {
			skip := min(p.payload, uint64(len(b)))
			p.payload -= skip
			b = b[skip:]
			continue
		}
		take := min(headerSize-len(p.header), len(b))
		p.header = append(p.header, b[:take]...)
		b = b[take:]
		if len(p.header) == headerSize {
			p.begin()
		}
	}
	return n, nil
}

// begin checks a complete header.
func (p *packets) begin() {
	version, kind := p.header[0], p.header[1]
	p.payload = binary.LittleEndian.Uint64(p.header[16:])
	p.header = p.header[:0]
	p.count++
	switch {
	case p.ended:
		p.err = errors.New(afterTrailer)
	case version != streamVersion:
		p.unknown = true
	case (kind == typeDescriptor) != (p.count == 1):
		p.err = fmt.Errorf(
			"packet %d is of type %d: only the first is a descriptor (%d)", p.count, kind, typeDescriptor,
		)
	case kind == typeTrailer:
		p.ended = true
	}
}

// complete returns an error if the stream must not end here.
func (p *packets) complete() error {
	switch {
	case p.err != nil || p.unknown:
		return p.err
	case len(p.header) > 0 || p.payload > 0:
		return fmt.Errorf("it ends in the middle of packet %d", p.count+min(len(p.header), 1))
	case !p.ended:
		return fmt.Errorf("it ends after %d packets, without a trailer", p.count)
	}
	return nil
}
