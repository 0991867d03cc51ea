package fakehost

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"syscall"
)

// The stream of a VF's state, as xe_sriov_packet.c has it: packets of a header and a payload.
const (
	packetHeader     = 24
	packetDescriptor = 1
	packetTrailer    = 2
	packetGGTT       = 3
	packetMMIO       = 4
	packetGuC        = 5
	packetVRAM       = 6
	packetLast       = 6 // the highest type there is
	packetMost       = 512 << 20
)

// packet makes a packet of the stream.
func packet(kind, gt byte, payload []byte) []byte {
	b := make([]byte, packetHeader, packetHeader+len(payload))
	b[0], b[1], b[3] = 1, kind, gt // version, type, tile 0, GT
	binary.LittleEndian.PutUint64(b[16:], uint64(len(payload)))
	return append(b, payload...)
}

// descriptor are the ids of the device that the state is of, as key-length-values.
func (h *Host) descriptor() []byte {
	var b []byte
	for key, value := range []uint32{uint32(h.o.Device), revision} {
		b = binary.LittleEndian.AppendUint32(b, uint32(0xf001+key)<<16|1)
		b = binary.LittleEndian.AppendUint32(b, value)
	}
	return b
}

const revision = 0

// stream is all that a VF's state is made of here: what it was given, its register, and what its guest has put into each GT.
func (h *Host) stream(vf int) []byte {
	f := &h.s.Functions[vf]
	b := packet(packetDescriptor, 0, h.descriptor())
	b = append(b, packet(packetGGTT, 0, binary.LittleEndian.AppendUint64(nil, f.GGTT.Size))...)
	b = append(b, packet(packetMMIO, 0, binary.LittleEndian.AppendUint32(nil, f.Register))...)
	if h.o.VRAM > 0 {
		b = append(b, packet(packetVRAM, 0, binary.LittleEndian.AppendUint64(nil, f.VRAM))...)
	}
	for gt, g := range f.GTs {
		b = append(b, packet(packetGuC, byte(gt), append(g.sums(g.Guest), g.Guest...))...)
	}
	return append(b, packet(packetTrailer, 0, nil)...)
}

// sums is what is compared when a GT's state is restored: its ids, and a checksum of what its guest has.
func (g *share) sums(guest string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(g.Contexts.Size))
	b = binary.LittleEndian.AppendUint32(b, uint32(g.Doorbells.Size))
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(guest)))
}

// GuestState is what a VF's guest has in each GT, and what a migration carries.
func (h *Host) GuestState(vf int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []string
	for _, g := range h.s.Functions[vf].GTs {
		list = append(list, g.Guest)
	}
	return list
}

// SetGuestState is a guest at work: it changes what its VF has in every GT.
func (h *Host) SetGuestState(vf int, state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for gt := range h.s.GTs {
		h.s.Functions[vf].GTs[gt].Guest = state + " on gt" + strconv.Itoa(gt)
	}
}

func startData(op, state, other string) operation {
	return func(h *Host, vf, gt int) error {
		c := &h.s.Functions[vf].GTs[gt].Control
		switch {
		case c.State != paused:
			return syscall.EPERM
		case c.Data == other:
			return syscall.EBUSY
		case c.Data == state:
			return syscall.EALREADY
		}
		if err := h.firmware(op, vf, gt); err != nil {
			return err
		}
		c.Data = state
		return nil
	}
}

func (h *Host) startSave(vf int) error {
	if h.o.NoMigration && !h.o.StandIn {
		h.Oopses = append(h.Oopses, "xe_gt_sriov_pf_migration_ring_full")
	}
	h.s.Functions[vf].In = nil
	err := h.firstOf(vf, startData("save", saving, restoring))
	if err == nil {
		h.s.Functions[vf].Out = h.stream(vf)
		h.woken()
	}
	return err
}

func (h *Host) startRestore(vf int) error {
	return h.firstOf(vf, startData("restore", restoring, saving))
}

func finishSave(h *Host, vf, gt int) error {
	c := &h.s.Functions[vf].GTs[gt].Control
	if c.Data != saving || len(h.s.Functions[vf].Out) > 0 || h.o.NoMigration {
		return syscall.EIO
	}
	c.Data, c.Done = saved, true
	return nil
}

// finishRestore ends a restore. Where the kernel would wait 20 s in vain, this gives up at once.
func finishRestore(h *Host, vf, gt int) error {
	c := &h.s.Functions[vf].GTs[gt].Control
	switch {
	case c.Data == restored && h.s.Functions[vf].In == nil:
		return nil
	case c.Data == restoring, !c.Done:
		return syscall.ETIMEDOUT
	}
	return syscall.EIO
}

// migrationFiles places the files that save and restore a VF.
func (h *Host) migrationFiles(b builder, dir string, vf int) {
	save := h.trigger(func() error { return h.startSave(vf) })
	save.mode = 0o600
	save.read = func() (string, error) {
		if err := h.fault("save finish", vf, 0); err != nil {
			return "", err
		}
		return "", h.firstOf(vf, finishSave)
	}
	restore := h.trigger(func() error { return h.startRestore(vf) })
	restore.mode = 0o600
	restore.read = func() (string, error) {
		if err := h.fault("restore finish", vf, 0); err != nil {
			return "", err
		}
		return "", h.firstOf(vf, finishRestore)
	}
	b.add(dir+"/save", save)
	b.add(dir+"/restore", restore)
	b.add(dir+"/migration_data", node{
		mode: 0o600,
		open: func() io.ReadWriteCloser { return &dataFile{h, vf} },
		read: func() (string, error) {
			var all bytes.Buffer
			err := h.drain(vf, &all)
			return all.String(), err
		},
		write: func(text string) error { return h.take(vf, []byte(text)) },
	})
	b.add(dir+"/migration_size", node{mode: 0o400, read: func() (string, error) {
		if h.o.NoMigration {
			return "", syscall.ENOPKG
		}
		return fmt.Sprintf("%d\n", len(h.stream(vf))), nil
	}})
}

// dataFile is an open migration_data.
type dataFile struct {
	h  *Host
	vf int
}

func (d *dataFile) Close() error { return nil }

func (d *dataFile) Read(p []byte) (int, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return d.h.give(d.vf, p)
}

func (d *dataFile) Write(p []byte) (int, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if err := d.h.fault("restore data", d.vf, 0); err != nil {
		return 0, err
	}
	if err := d.h.take(d.vf, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *Host) drain(vf int, to *bytes.Buffer) error {
	p := make([]byte, 4096)
	for {
		n, err := h.give(vf, p)
		to.Write(p[:n])
		switch {
		case err == io.EOF: //nolint:errorlint // give does not wrap it
			return nil
		case err != nil:
			return err
		}
	}
}

// give is a read of migration_data. Without a save it blocks until one is started, or the VF is reset. In the kernel it does
// not end with a save: that waits for the reader in its turn (xe_sriov_pf_migration_read holds the lock). No rule is
// about that, and nothing of vmtb reads before it saves.
func (h *Host) give(vf int, p []byte) (int, error) {
	if err := h.fault("save data", vf, 0); err != nil {
		return 0, err
	}
	f, last := &h.s.Functions[vf], len(h.s.GTs)-1
	for epoch := h.epoch; f.GTs[last].Control.Data != saving; {
		h.freed.Wait()
		if h.epoch != epoch || f.GTs[last].Control.State == stopped {
			return 0, syscall.EIO // what it waited for will not come
		}
	}
	if h.o.NoMigration {
		return 0, syscall.EIO
	}
	if len(f.Out) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.Out[:min(len(f.Out), 100)]) // never all at once
	f.Out = f.Out[n:]
	return n, nil
}

// take is a write of migration_data. Each packet is acted on when it is complete.
func (h *Host) take(vf int, data []byte) error {
	f := &h.s.Functions[vf]
	if f.GTs[0].Control.Data != restoring {
		return syscall.EIO // also after a packet that could not be restored
	}
	f.In = append(f.In, data...)
	for len(f.In) >= packetHeader {
		size := binary.LittleEndian.Uint64(f.In[16:])
		if err := h.checkPacket(f.In[:packetHeader], size); err != nil {
			h.refusePacket(f)
			if int(f.In[3]) < len(h.s.GTs) || h.o.StandIn {
				f.In = nil // the kernel has no memory for a packet of another GT, and keeps it
			}
			return err
		}
		if uint64(len(f.In)) < packetHeader+size {
			return nil
		}
		kind, gt, payload := f.In[1], f.In[3], f.In[packetHeader:packetHeader+size]
		if err := h.restorePacket(vf, kind, int(gt), payload); err != nil {
			h.refusePacket(f)
			f.In = nil
			return err
		}
		f.In = f.In[packetHeader+size:]
	}
	if len(f.In) == 0 {
		f.In = nil
	}
	return nil
}

func (h *Host) checkPacket(header []byte, size uint64) error {
	version, kind, tile, gt := header[0], header[1], header[2], int(header[3])
	whole := kind == packetDescriptor || kind == packetTrailer
	if version != 1 && !h.o.StandIn {
		h.Oopses = append(h.Oopses, "xe_guc_klv_count")
	}
	switch {
	case version != 1, kind == 0, kind > packetLast && h.o.StandIn, tile != 0, gt >= len(h.s.GTs), whole && gt != 0,
		kind == packetTrailer && size != 0, size > packetMost:
		return syscall.EINVAL
	}
	return nil
}

func (h *Host) restorePacket(vf int, kind byte, gt int, payload []byte) error {
	f := &h.s.Functions[vf]
	switch kind {
	case packetDescriptor:
		return h.checkDescriptor(payload)
	case packetGGTT:
		if !bytes.Equal(payload, binary.LittleEndian.AppendUint64(nil, f.GGTT.Size)) {
			f.failRestore()
		}
	case packetVRAM:
		if !bytes.Equal(payload, binary.LittleEndian.AppendUint64(nil, f.VRAM)) {
			f.failRestore()
		}
	case packetMMIO:
		if len(payload) == 4 {
			f.Register = binary.LittleEndian.Uint32(payload)
		}
	case packetGuC:
		g := &f.GTs[gt]
		guest := string(payload[min(len(payload), len(g.sums(""))):])
		if !bytes.Equal(payload, append(g.sums(guest), guest...)) {
			f.failRestore()
			return nil
		}
		g.Guest = guest
	case packetTrailer:
		for i := range f.GTs {
			if c := &f.GTs[i].Control; c.Data == restoring {
				c.Data, c.Done = restored, true
			}
		}
	}
	return nil
}

// refusePacket is what a refused packet does to a restore: nothing, and the driver waits for another one. The stand-in
// fails it.
func (h *Host) refusePacket(f *function) {
	if h.o.StandIn {
		f.failRestore()
	}
}

// failRestore makes the writes and the finish that follow fail.
func (f *function) failRestore() {
	for i := range f.GTs {
		f.GTs[i].Control.Data = restFailed
	}
}

// truncated is the errno of a descriptor that ends in the middle of a key.
func (h *Host) truncated() error {
	if h.o.StandIn {
		return syscall.EINVAL
	}
	return syscall.ENODATA // xe_guc_klv_count
}

// checkDescriptor compares the device ids; keys that it does not know are skipped.
func (h *Host) checkDescriptor(b []byte) error {
	want := map[uint32]uint32{0xf001: uint32(h.o.Device), 0xf002: revision}
	for len(b) > 0 {
		if len(b) < 4 {
			return syscall.EINVAL
		}
		head := binary.LittleEndian.Uint32(b)
		key, size := head>>16, int(head&0xffff)*4
		if b = b[4:]; len(b) < size {
			return h.truncated()
		}
		if v, known := want[key]; known && (size != 4 || binary.LittleEndian.Uint32(b) != v) {
			return syscall.ENODEV
		}
		b = b[size:]
	}
	return nil
}
