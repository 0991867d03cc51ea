package xe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"vmtb/bench"
)

// A restoreStream reads a saved state, and checks each header before it passes any of it to the
// driver. The driver trusts headers. Up to Linux 7.3 at least, a header of another version makes
// the kernel oops: xe_sriov_packet_write_single goes on with the packet that
// xe_sriov_packet_init_from_hdr refused. A header with a missing GT or a huge size leaves a packet
// without memory, and every later write fails with EFAULT.
type restoreStream struct {
	r       io.Reader
	gts     []GT
	checked []byte // the rest of a valid header, to be passed on
	payload uint64 // remaining bytes of the current packet
	packets int
	ended   bool // by a trailer
}

// The driver writes no larger payloads (VF_VRAM_STATE_CHUNK_MAX_SIZE; a GGTT of 4 GiB has 8 MiB of
// entries).
const (
	mostVRAM  = 512 << 20
	mostOther = 64 << 20
	typeVRAM  = 6
)

// begin reads the first header.
func (s *restoreStream) begin() error {
	if err := s.next(); !errors.Is(err, io.EOF) {
		return err
	}
	return damaged("it is empty")
}

func (s *restoreStream) Read(p []byte) (int, error) {
	if len(s.checked) == 0 && s.payload == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	if len(s.checked) > 0 {
		n := copy(p, s.checked)
		s.checked = s.checked[n:]
		return n, nil
	}
	n, err := s.r.Read(p[:min(uint64(len(p)), s.payload)])
	s.payload -= uint64(n)
	switch {
	case err == nil || s.payload == 0 && errors.Is(err, io.EOF):
		return n, nil
	case errors.Is(err, io.EOF):
		return n, damaged("it ends in the middle of packet %d", s.packets)
	}
	return n, err
}

// next reads a header. The error after the trailer is io.EOF.
func (s *restoreStream) next() error {
	header := make([]byte, headerSize)
	n, err := io.ReadFull(s.r, header)
	switch {
	case errors.Is(err, io.EOF) && (s.ended || s.packets == 0):
		return io.EOF
	case errors.Is(err, io.EOF):
		return damaged("it ends after %d packets, without a trailer", s.packets)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it ends in the middle of packet %d, after %d bytes of its header", s.packets+1, n)
	case err != nil:
		return err
	}
	s.packets++
	if err := s.check(header); err != nil {
		return err
	}
	s.checked, s.payload = header, binary.LittleEndian.Uint64(header[16:])
	s.ended = header[1] == typeTrailer
	return nil
}

func (s *restoreStream) check(header []byte) error {
	version, kind, tile, gt := header[0], header[1], int(header[2]), int(header[3])
	size := binary.LittleEndian.Uint64(header[16:])
	whole := kind == typeDescriptor || kind == typeTrailer // of the device, not of a GT
	most := uint64(mostOther)
	if kind == typeVRAM {
		most = mostVRAM
	}
	switch {
	case s.ended:
		return damaged(afterTrailer)
	case version != streamVersion:
		return damaged(
			"packet %d is of version %d of the format, not %d: the kernel may crash on it "+
				"(xe_sriov_packet_write_single)",
			s.packets, version, streamVersion,
		)
	case kind == 0:
		return damaged("packet %d has no type", s.packets)
	case (kind == typeDescriptor) != (s.packets == 1):
		return damaged("packet %d is of type %d: only the first is a descriptor (%d)", s.packets, kind, typeDescriptor)
	case whole && (tile != 0 || gt != 0):
		return damaged("packet %d, of type %d, is of tile %d and GT %d, not of the device", s.packets, kind, tile, gt)
	case !slices.ContainsFunc(s.gts, func(g GT) bool { return g.ID == gt && g.Tile == tile }):
		return damaged("packet %d is of tile %d and GT %d, which this GPU does not have", s.packets, tile, gt)
	case kind == typeTrailer && size != 0, kind != typeTrailer && size == 0, size > most:
		return damaged("packet %d, of type %d, has a payload of %d bytes", s.packets, kind, size)
	}
	return nil
}

// damaged returns the error for a saved state that must not reach the driver.
func damaged(format string, args ...any) error {
	return &bench.UsageError{Err: fmt.Errorf("the saved state: "+format, args...)}
}
