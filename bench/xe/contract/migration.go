package contract

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	pauseVF1, pauseVF2 = "D/sriov/vf1/pause", "D/sriov/vf2/pause"
	save1, restore1    = "D/sriov/vf1/save", "D/sriov/vf1/restore"
	data1              = "D/sriov/vf1/migration_data"
	size1              = "D/sriov/vf1/migration_size"
)

var (
	// The firmware may refuse to report the size for a VF that is not enabled. Only ENOPKG means
	// that VFs cannot be saved.
	canSave = Need{"VFs that can be saved", func(p *Probe) bool {
		_, err := p.Read(size1)
		return migration.check(p) && !errors.Is(err, syscall.ENOPKG)
	}}
	cannotSave = Need{"VFs that cannot be saved, on a kernel with the files for it", func(p *Probe) bool {
		_, err := p.Read(size1)
		return migration.check(p) && errors.Is(err, syscall.ENOPKG)
	}}
)

var migrationRules = []Rule{
	{
		ID:    "unsupported",
		Doc:   "If VFs cannot be saved, migration_size is ENOPKG. No other migration file may be used then.",
		Needs: []Need{cannotSave},
		Steps: []Step{unreadable(syscall.ENOPKG, size1), write(numvfs, "1"), unreadable(syscall.ENOPKG, size1)},
	},
	{
		ID: "unsupported_save", Doc: "If VFs cannot be saved, save starts nevertheless, and yields no data.",
		Needs: []Need{cannotSave},
		Crashes: "Linux up to 7.3 oopses in xe_gt_sriov_pf_migration_ring_full(), whose ring was never made, and " +
			"SR-IOV control is dead until the machine is booted again",
		Steps: []Step{write(numvfs, "1"), write(pauseVF1, "1"), write(save1, "1"), unreadable(syscall.EIO, data1)},
	},
	{ID: "size", Doc: "migration_size is a number of bytes.", Needs: []Need{canSave}, Check: checkMigrationSize},
	{
		ID: "save_states",
		Doc: "Only a paused VF can be saved (EPERM), and only once at a time (EALREADY). During a save the VF can be " +
			"neither resumed nor restored (EBUSY).", Needs: []Need{canSave},
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EPERM, save1, "1"), write(save1, "0"),
			refuse(syscall.EINVAL, save1, "x"), write(pauseVF1, "1"), unreadable(syscall.EIO, save1), write(save1, "1"),
			refuse(syscall.EALREADY, save1, "1"), refuse(syscall.EBUSY, restore1, "1"),
			refuse(syscall.EBUSY, "G/vf1/control", "resume"), write("D/sriov/vf1/stop", "1"),
			refuse(syscall.EPERM, save1, "1"),
		},
	},
	{
		ID: "restore_states", Doc: "Only a paused VF can be restored (EPERM), and only once at a time (EALREADY). " +
			"During a restore the VF can be neither resumed nor saved (EBUSY).", Needs: []Need{canSave},
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EPERM, restore1, "1"), write(restore1, "0"),
			refuse(syscall.EINVAL, restore1, "x"), write(pauseVF1, "1"), unreadable(syscall.EIO, restore1),
			write(restore1, "1"),
			refuse(syscall.EALREADY, restore1, "1"), refuse(syscall.EBUSY, save1, "1"),
			refuse(syscall.EBUSY, "G/vf1/control", "resume"), write("D/sriov/vf1/reset", "1"),
			refuse(syscall.EPERM, restore1, "1"),
		},
	},
	{
		ID: "stream",
		Doc: "A saved VF is a stream of packets: a descriptor first, then data, a trailer last. Reading on returns " +
			"nothing and ends the save; the VF is still paused, and can be saved again.",
		Needs: []Need{canSave}, Check: checkStream,
	},
	{
		ID: "stream_offset", Doc: "migration_data is read and written at offset 0 only: ESPIPE.",
		Needs: []Need{canSave}, Check: checkStreamOffset,
	},
	{
		ID:    "round_trip",
		Doc:   "A saved state can be restored, also to another VF with the same quotas, in pieces of any size.",
		Needs: []Need{canSave, vfs(2)}, Check: checkRoundTrip,
	},
	{
		ID: "stream_checked", Needs: []Need{canSave}, Check: checkStreamChecked,
		Doc: "Invalid packets are EINVAL, a descriptor that ends in the middle of a key is ENODATA (EINVAL up to " +
			"7.2), packets of another device are ENODEV. Unknown keys of the descriptor and packets of an unknown " +
			"type are skipped.",
	},
	{
		ID: "stream_version", Doc: "A packet of another version is EINVAL.", Needs: []Need{canSave},
		Check: checkStreamVersion,
		Crashes: "Linux up to 7.3 oopses in xe_guc_klv_count(): xe_sriov_packet_write_single() goes on with the " +
			"packet that was refused, and the VF can never be saved or restored again",
	},
	{
		ID: "stream_half",
		Doc: "A reset keeps a packet of which only a part was written: the next restore continues that packet. A new " +
			"save discards it.",
		Needs: []Need{canSave}, Check: checkStreamHalf,
	},
	{
		ID: "quotas_differ", Doc: "A VF with another GGTT quota cannot be restored: EIO, at the end of the restore " +
			"at the latest.",
		Needs: []Need{canSave, vfs(2)}, Check: checkQuotasDiffer,
	},
}

// smallVFs enables n VFs with the same few resources each. The time to save a VF depends on them.
func (p *Probe) smallVFs(ctx context.Context, n int) error {
	for vf := 1; vf <= n; vf++ {
		if err := p.giveSmall(ctx, vf); err != nil {
			return err
		}
	}
	return p.Refuses(ctx, 0, numvfs, strconv.Itoa(n))
}

// smallGGTT returns a GGTT quota in bytes that is large enough for a VF's driver. On integrated
// GPUs the driver keeps copies of batches for the page tables of all memory there: about a 128th of
// that memory (alloc_bb_pool() of xe_sriov_vf_ccs.c).
func (p *Probe) smallGGTT() uint64 {
	const base, step = 64 << 20, 1 << 20
	text, err := p.Read("/proc/meminfo")
	var kib uint64
	if _, scanErr := fmt.Sscanf(text, "MemTotal: %d kB", &kib); err != nil || scanErr != nil {
		return base
	}
	return base + kib<<10/128/step*step
}

// otherGGTT returns a quota that differs from smallGGTT.
func (p *Probe) otherGGTT() uint64 { return p.smallGGTT() + 16<<20 }

// giveSmall gives a VF a small amount of each resource.
func (p *Probe) giveSmall(ctx context.Context, vf int) error {
	dir := fmt.Sprintf("vf%d/", vf)
	steps := []Step{
		write("T/"+dir+"ggtt_quota", strconv.FormatUint(p.smallGGTT(), 10)), write("G/"+dir+"contexts_quota", "64"),
		write("G/"+dir+"doorbells_quota", "4"),
	}
	if p.vram {
		steps = append(steps, write("T/"+dir+"vram_quota", "33554432"))
	}
	return p.all(ctx, steps...)
}

func checkMigrationSize(ctx context.Context, p *Probe) error {
	if err := p.smallVFs(ctx, 1); err != nil {
		return err
	}
	text, err := p.Read(size1)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(text, "\n")); err != nil || n <= 3*headerSize {
		return fmt.Errorf("migration_size reads %q, want the size of three packets at least", text)
	}
	return nil
}

// EarlyTrailer says why data follow a stream's trailer.
const EarlyTrailer = "a race of xe 7.3, see \"vmtb help kernels\""

// save saves VF1, which must be paused. It saves again if the driver has written the trailer too early:
// only the rule "stream" is about that.
func (p *Probe) save(ctx context.Context) ([]byte, error) {
	return saveWhole(func() ([]byte, error) { return p.saveOnce(ctx) })
}

// saveWhole calls save until nothing follows the trailer of its stream, five times at most.
func saveWhole(save func() ([]byte, error)) (stream []byte, err error) {
	for range 5 {
		if stream, err = save(); err != nil || afterTrailer(stream) == 0 {
			break
		}
	}
	return stream, err
}

// afterTrailer returns how many bytes follow the trailer of a stream of valid packets.
func afterTrailer(stream []byte) int {
	for len(stream) >= headerSize {
		kind, size := stream[typeAt], binary.LittleEndian.Uint64(stream[sizeAt:])
		stream = stream[headerSize:]
		if kind == typeTrailer {
			return len(stream)
		}
		stream = stream[min(size, uint64(len(stream))):]
	}
	return 0
}

// saveOnce saves VF1 once.
func (p *Probe) saveOnce(ctx context.Context) (stream []byte, err error) {
	if err := p.Refuses(ctx, 0, save1, "1"); err != nil {
		return nil, err
	}
	err = p.withFile(data1, os.O_RDONLY, func(f File) (err error) {
		if stream, err = io.ReadAll(f); err != nil {
			return err
		}
		if n, err := f.Read(make([]byte, 1)); n != 0 ||
			err != io.EOF { //nolint:errorlint // an os.File's is not wrapped
			return differs(err, "after the stream's end %d bytes could be read", n)
		}
		return nil
	})
	return stream, errors.Join(err, p.Reads(save1, ""))
}

// feed starts to restore a paused VF from a stream, in pieces.
func (p *Probe) feed(ctx context.Context, vf int, stream []byte, piece int) error {
	dir := fmt.Sprintf("D/sriov/vf%d/", vf)
	if err := p.Refuses(ctx, 0, dir+"restore", "1"); err != nil {
		return err
	}
	return p.withFile(dir+"migration_data", os.O_WRONLY, func(f File) error {
		for len(stream) > 0 {
			n := min(piece, len(stream))
			if _, err := f.Write(stream[:n]); err != nil {
				return err
			}
			stream = stream[n:]
		}
		return nil
	})
}

// The header of a packet has version, type, tile, GT (a byte each), flags (4), offset (8) and the
// payload's size (8).
const (
	headerSize     = 24
	typeAt         = 1
	tileAt         = 2
	gtAt           = 3
	sizeAt         = 16
	descriptorSize = 16 // of the payload: two keys, each with a value
	typeDescriptor = 1
	typeTrailer    = 2
	typeLast       = 6
)

func checkStream(ctx context.Context, p *Probe) error {
	if err := p.smallVFs(ctx, 1); err != nil {
		return err
	}
	if err := p.Refuses(ctx, 0, pauseVF1, "1"); err != nil {
		return err
	}
	for range 2 {
		stream, err := p.saveOnce(ctx)
		if err != nil {
			return err
		}
		if err := p.checkPackets(stream); err != nil {
			return fmt.Errorf("%w\n%x", err, stream[:min(len(stream), 200)])
		}
		if err := errors.Join(
			p.Unreadable(syscall.EIO, save1), p.Refuses(ctx, syscall.ESTALE, "G0/vf1/control", "pause"),
		); err != nil {
			return err
		}
	}
	return p.Refuses(ctx, 0, "D/sriov/vf1/resume", "1")
}

func (p *Probe) checkPackets(stream []byte) error {
	device, err := p.uint("P/device")
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		if len(stream) < headerSize {
			return errors.New("the stream ends without a trailer")
		}
		kind, gt, size := stream[typeAt], int(stream[gtAt]), binary.LittleEndian.Uint64(stream[sizeAt:])
		rest := stream[headerSize:]
		switch {
		case stream[0] != 1, kind < typeDescriptor, kind > typeLast, stream[tileAt] != 0, gt >= len(p.gts),
			size > uint64(len(rest)):
			return fmt.Errorf("bad header % x", stream[:headerSize])
		case first != (kind == typeDescriptor):
			return fmt.Errorf("packet of type %d: the descriptor comes first, and once", kind)
		case first &&
			(size != descriptorSize || binary.LittleEndian.Uint32(rest) != 0xf001<<16|1 || uint64(
				binary.LittleEndian.Uint32(rest[4:]),
			) != device || binary.LittleEndian.Uint32(rest[8:]) != 0xf002<<16|1):
			return fmt.Errorf(
				"descriptor % x: want device %#x and a revision", rest[:min(len(rest), descriptorSize)], device,
			)
		case kind == typeTrailer && size != 0:
			return fmt.Errorf("the trailer has %d bytes of payload", size)
		case kind == typeTrailer && len(rest) != 0:
			return fmt.Errorf("%d bytes follow the trailer: %s", len(rest), EarlyTrailer)
		case kind == typeTrailer:
			return nil
		}
		stream = rest[size:]
	}
}

func checkStreamOffset(_ context.Context, p *Probe) error {
	return p.withFile(data1, os.O_RDWR, func(f File) error {
		_, readErr := f.ReadAt(make([]byte, 1), 1)
		_, writeErr := f.WriteAt([]byte{1}, 1)
		return errors.Join(
			wantErrno(syscall.ESPIPE, readErr, "reading at offset 1"),
			wantErrno(syscall.ESPIPE, writeErr, "writing at offset 1"),
		)
	})
}

func checkRoundTrip(ctx context.Context, p *Probe) error {
	if err := p.smallVFs(ctx, 2); err != nil {
		return err
	}
	for _, file := range []string{pauseVF1, pauseVF2} {
		if err := p.Refuses(ctx, 0, file, "1"); err != nil {
			return err
		}
	}
	stream, err := p.save(ctx)
	if err != nil {
		return err
	}
	for _, to := range []struct{ vf, piece int }{{2, 7}, {1, len(stream)}} {
		dir := fmt.Sprintf("D/sriov/vf%d/", to.vf)
		if err := p.feed(ctx, to.vf, stream, to.piece); err != nil {
			return fmt.Errorf("restoring VF%d: %w", to.vf, err)
		}
		if err := errors.Join(p.Reads(dir+"restore", ""), p.Refuses(ctx, 0, dir+"resume", "1")); err != nil {
			return fmt.Errorf("after restoring VF%d: %w", to.vf, err)
		}
	}
	return nil
}

// saved returns the stream of VF1, after giving VF1 a small amount of each resource and pausing it.
func (p *Probe) saved(ctx context.Context) ([]byte, error) {
	if err := p.smallVFs(ctx, 1); err != nil {
		return nil, err
	}
	if err := p.Refuses(ctx, 0, pauseVF1, "1"); err != nil {
		return nil, err
	}
	return p.save(ctx)
}

// anew resets VF1 and pauses it. A save in between makes the driver drop a partial packet of a
// restore.
func (p *Probe) anew(ctx context.Context) error {
	if err := p.resetAndPaused(ctx); err != nil {
		return err
	}
	if err := p.all(ctx, write(save1, "1")); err != nil {
		return err
	}
	return p.resetAndPaused(ctx)
}

// resetAndPaused resets VF1, twice if the first reset is lost, and pauses it. xe loses a reset that
// meets GuC's part of a save or a restore. GuC refuses that part for a VF in reset.
// pf_enter_vf_save_failed() and its like then end all work in progress, including the reset, so the
// VF stays paused (7.3.4).
func (p *Probe) resetAndPaused(ctx context.Context) error {
	steps := []Step{write("D/sriov/vf1/reset", "1"), write(pauseVF1, "1")}
	if p.all(ctx, steps...) == nil {
		return nil
	}
	return p.all(ctx, steps...)
}

// set returns an edit that changes one byte.
func set(at int, value byte) func([]byte) []byte {
	return func(b []byte) []byte { b[at] = value; return b }
}

func checkStreamChecked(ctx context.Context, p *Probe) error {
	good, err := p.saved(ctx)
	if err != nil {
		return err
	}
	const first = headerSize + descriptorSize // offset of the second packet
	for _, c := range []struct {
		name  string
		errno syscall.Errno
		edit  func([]byte) []byte
	}{
		{"type 0", syscall.EINVAL, set(first+typeAt, 0)},
		{"an unknown type", 0, set(first+typeAt, typeLast+1)},
		{"another tile", syscall.EINVAL, set(first+tileAt, 1)},
		{"another GT", syscall.EINVAL, set(first+gtAt, 9)},
		{"a descriptor of a GT", syscall.EINVAL, set(gtAt, 1)},
		{
			"a trailer with a payload", syscall.EINVAL,
			func(b []byte) []byte { return append(set(len(b)-headerSize+sizeAt, 4)(b), 0, 0, 0, 0) },
		},
		{"a key longer than the descriptor", syscall.ENODATA, set(headerSize, 9)},
		{"another device", syscall.ENODEV, set(headerSize+4, good[headerSize+4]^1)},
		{"another revision", syscall.ENODEV, set(headerSize+12, good[headerSize+12]^1)},
		{"an unknown key", 0, addKey},
	} {
		if err := p.anew(ctx); err != nil {
			return err
		}
		if c.errno == syscall.ENODATA && p.before(7, 3) {
			c.errno = syscall.EINVAL
		}
		if err := wantErrno(
			c.errno, p.feed(ctx, 1, c.edit(bytes.Clone(good)), len(good)+8), "a stream with "+c.name,
		); err != nil {
			return err
		}
	}
	return p.Reads(restore1, "")
}

func checkStreamVersion(ctx context.Context, p *Probe) error {
	stream, err := p.saved(ctx)
	if err != nil {
		return err
	}
	return wantErrno(syscall.EINVAL, p.feed(ctx, 1, set(0, 2)(stream), len(stream)), "a stream of version 2")
}

func checkStreamHalf(ctx context.Context, p *Probe) error {
	stream, err := p.saved(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(p.feed(ctx, 1, stream[:headerSize+1], headerSize+1), p.anew(ctx)); err != nil {
		return err
	}
	return errors.Join(p.feed(ctx, 1, stream, len(stream)), p.Reads(restore1, ""))
}

// addKey adds an unknown key to the descriptor.
func addKey(b []byte) []byte {
	const end = headerSize + descriptorSize
	key := []byte{1, 0, 0x34, 0x12, 0, 0, 0, 0} // one word, key 0x1234
	b[sizeAt] += byte(len(key))
	return append(append(bytes.Clone(b[:end]), key...), b[end:]...)
}

func checkQuotasDiffer(ctx context.Context, p *Probe) error {
	if err := p.smallVFs(ctx, 2); err != nil {
		return err
	}
	if err := p.Refuses(ctx, 0, "T/vf2/ggtt_quota", strconv.FormatUint(p.otherGGTT(), 10)); err != nil {
		return err
	}
	for _, file := range []string{pauseVF1, pauseVF2} {
		if err := p.Refuses(ctx, 0, file, "1"); err != nil {
			return err
		}
	}
	stream, err := p.save(ctx)
	if err != nil {
		return err
	}
	if err := p.feed(ctx, 2, stream, len(stream)); err != nil && !errors.Is(err, syscall.EIO) {
		return fmt.Errorf("restoring VF2, which has another quota: %w", err)
	}
	return p.Unreadable(syscall.EIO, "D/sriov/vf2/restore")
}
