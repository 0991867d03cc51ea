package fakehost

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"syscall"
)

// The stream of a VF's state has the format of xe_sriov_packet.c: packets of a header and a
// payload.
const (
	packetHeader     = 24
	packetDescriptor = 1
	packetTrailer    = 2
	packetGGTT       = 3
	packetMMIO       = 4
	packetGuC        = 5
	packetVRAM       = 6
	packetLast       = 6 // the highest known type
	packetMost       = 512 << 20
)

// migration saves and restores VFs. It has the stream of a VF's state, and the files for it.
type migration struct {
	*core
	ctl *controller
}

// packet makes a packet of the stream.
func packet(kind, gt byte, payload []byte) []byte {
	b := make([]byte, packetHeader, packetHeader+len(payload))
	b[0], b[1], b[3] = 1, kind, gt // version, type, tile 0, GT
	binary.LittleEndian.PutUint64(b[16:], uint64(len(payload)))
	return append(b, payload...)
}

// descriptor returns the ids of the device to which the state belongs, as key-length-values.
func (m *migration) descriptor() []byte {
	var b []byte
	for key, value := range []uint32{uint32(m.o.Device), revision} {
		b = binary.LittleEndian.AppendUint32(b, uint32(0xf001+key)<<16|1)
		b = binary.LittleEndian.AppendUint32(b, value)
	}
	return b
}

const revision = 0

// stream returns the state of a VF: its resources, its register, and its guest's state in each GT.
func (m *migration) stream(vf int) []byte {
	f := &m.s.Functions[vf]
	b := packet(packetDescriptor, 0, m.descriptor())
	b = append(b, packet(packetGGTT, 0, binary.LittleEndian.AppendUint64(nil, f.GGTT.Size))...)
	b = append(b, packet(packetMMIO, 0, binary.LittleEndian.AppendUint32(nil, f.Register))...)
	if m.o.VRAM > 0 {
		b = append(b, packet(packetVRAM, 0, binary.LittleEndian.AppendUint64(nil, f.VRAM))...)
	}
	for gt, g := range f.GTs {
		b = append(b, packet(packetGuC, byte(gt), append(g.ids(), g.Guest...))...)
	}
	return append(b, packet(packetTrailer, 0, nil)...)
}

// ids returns the values that a restore of a GT's state compares: the numbers of ids.
func (g *share) ids() []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(g.Contexts.Size))
	return binary.LittleEndian.AppendUint32(b, uint32(g.Doorbells.Size))
}

func startData(op, state, other string) operation {
	return func(ctl *controller, vf, gt int) error {
		c := &ctl.s.Functions[vf].GTs[gt].Control
		switch {
		case c.State != paused:
			return syscall.EPERM
		case c.Data == other:
			return syscall.EBUSY
		case c.Data == state:
			return syscall.EALREADY
		}
		if err := ctl.firmware(op, vf, gt); err != nil {
			return err
		}
		c.Data = state
		return nil
	}
}

func (m *migration) startSave(vf int) error {
	if m.o.NoMigration {
		m.hooks.Oopses = append(m.hooks.Oopses, "xe_gt_sriov_pf_migration_ring_full")
	}
	m.s.Functions[vf].In = nil
	err := m.ctl.firstOf(vf, startData("save", saving, restoring))
	if err == nil {
		m.s.Functions[vf].Out = m.stream(vf)
		m.woken()
	}
	return err
}

func (m *migration) startRestore(vf int) error {
	return m.ctl.firstOf(vf, startData("restore", restoring, saving))
}

func finishSave(ctl *controller, vf, gt int) error {
	c := &ctl.s.Functions[vf].GTs[gt].Control
	if c.Data != saving || len(ctl.s.Functions[vf].Out) > 0 || ctl.o.NoMigration {
		return syscall.EIO
	}
	c.Data, c.Done = saved, true
	return nil
}

// finishRestore ends a restore. If data is missing, the kernel would wait 20 s for it;
// finishRestore fails at once.
func finishRestore(ctl *controller, vf, gt int) error {
	c := &ctl.s.Functions[vf].GTs[gt].Control
	switch {
	case c.Data == restored && ctl.s.Functions[vf].In == nil:
		return nil
	case c.Data == restoring, !c.Done:
		return syscall.ETIMEDOUT
	}
	return syscall.EIO
}

// files adds the files that save and restore a VF.
func (m *migration) files(b builder, dir string, vf int) {
	save := m.ctl.trigger(func() error { return m.startSave(vf) })
	save.mode = 0o600
	save.read = func() (string, error) {
		if err := m.ctl.fault("save finish", vf, 0); err != nil {
			return "", err
		}
		return "", m.ctl.firstOf(vf, finishSave)
	}
	restore := m.ctl.trigger(func() error { return m.startRestore(vf) })
	restore.mode = 0o600
	restore.read = func() (string, error) {
		if err := m.ctl.fault("restore finish", vf, 0); err != nil {
			return "", err
		}
		return "", m.ctl.firstOf(vf, finishRestore)
	}
	b.add(dir+"/save", save)
	b.add(dir+"/restore", restore)
	b.add(dir+"/migration_data", node{
		mode: 0o600,
		open: func() io.ReadWriteCloser { return &dataFile{m, vf} },
		read: func() (string, error) {
			var all bytes.Buffer
			err := m.drain(vf, &all)
			return all.String(), err
		},
		write: func(text string) error { return m.take(vf, []byte(text)) },
	})
	b.add(dir+"/migration_size", node{mode: 0o400, read: func() (string, error) {
		if m.o.NoMigration {
			return "", syscall.ENOPKG
		}
		return fmt.Sprintf("%d\n", len(m.stream(vf))), nil
	}})
}

// A dataFile is an open migration_data.
type dataFile struct {
	m  *migration
	vf int
}

func (d *dataFile) Close() error { return nil }

func (d *dataFile) Read(p []byte) (int, error) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	return d.m.give(d.vf, p)
}

func (d *dataFile) Write(p []byte) (int, error) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if err := d.m.ctl.fault("restore data", d.vf, 0); err != nil {
		return 0, err
	}
	if err := d.m.take(d.vf, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (m *migration) drain(vf int, to *bytes.Buffer) error {
	p := make([]byte, 4096)
	for {
		n, err := m.give(vf, p)
		to.Write(p[:n])
		switch {
		case err == io.EOF: //nolint:errorlint // give does not wrap it
			return nil
		case err != nil:
			return err
		}
	}
}

// give reads migration_data. Without a save it blocks until a save begins, or the VF is reset. In
// the kernel even a save does not end the wait: the save waits for the reader's lock
// (xe_sriov_pf_migration_read). No rule covers that, and vmtb never reads before it saves.
func (m *migration) give(vf int, p []byte) (int, error) {
	if err := m.ctl.fault("save data", vf, 0); err != nil {
		return 0, err
	}
	f, last := &m.s.Functions[vf], len(m.s.GTs)-1
	for epoch := m.ctl.epoch; f.GTs[last].Control.Data != saving; {
		m.freed.Wait()
		if m.ctl.epoch != epoch || f.GTs[last].Control.State == stopped {
			return 0, syscall.EIO // the save was abandoned
		}
	}
	if m.o.NoMigration {
		return 0, syscall.EIO
	}
	if len(f.Out) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.Out[:min(len(f.Out), 100)]) // never all at once
	f.Out = f.Out[n:]
	return n, nil
}

// take writes migration_data. It acts on each packet when the packet is complete.
func (m *migration) take(vf int, data []byte) error {
	f := &m.s.Functions[vf]
	if f.GTs[0].Control.Data != restoring {
		return syscall.EIO // also after a packet that could not be restored
	}
	f.In = append(f.In, data...)
	for len(f.In) >= packetHeader {
		size := binary.LittleEndian.Uint64(f.In[16:])
		if err := m.checkPacket(f.In[:packetHeader], size); err != nil {
			if int(f.In[3]) < len(m.s.GTs) {
				f.In = nil // the kernel has no memory for a packet of another GT, and keeps it
			}
			return err
		}
		if uint64(len(f.In)) < packetHeader+size {
			return nil
		}
		kind, gt, payload := f.In[1], f.In[3], f.In[packetHeader:packetHeader+size]
		if err := m.restorePacket(vf, kind, int(gt), payload); err != nil {
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

func (m *migration) checkPacket(header []byte, size uint64) error {
	version, kind, tile, gt := header[0], header[1], header[2], int(header[3])
	whole := kind == packetDescriptor || kind == packetTrailer
	if version != 1 {
		m.hooks.Oopses = append(m.hooks.Oopses, "xe_guc_klv_count")
	}
	switch {
	case version != 1, kind == 0, tile != 0, gt >= len(m.s.GTs), whole && gt != 0,
		kind == packetTrailer && size != 0, size > packetMost:
		return syscall.EINVAL
	}
	return nil
}

func (m *migration) restorePacket(vf int, kind byte, gt int, payload []byte) error {
	f := &m.s.Functions[vf]
	switch kind {
	case packetDescriptor:
		return m.checkDescriptor(payload)
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
		guest, ok := bytes.CutPrefix(payload, g.ids())
		if !ok {
			f.failRestore()
			return nil
		}
		g.Guest = string(guest)
	case packetTrailer:
		for i := range f.GTs {
			if c := &f.GTs[i].Control; c.Data == restoring {
				c.Data, c.Done = restored, true
			}
		}
	}
	return nil
}

// failRestore makes later writes and the finish fail.
func (f *function) failRestore() {
	for i := range f.GTs {
		f.GTs[i].Control.Data = restFailed
	}
}

// checkDescriptor compares the device ids. It skips unknown keys.
func (m *migration) checkDescriptor(b []byte) error {
	want := map[uint32]uint32{0xf001: uint32(m.o.Device), 0xf002: revision}
	for len(b) > 0 {
		if len(b) < 4 {
			return syscall.EINVAL
		}
		head := binary.LittleEndian.Uint32(b)
		key, size := head>>16, int(head&0xffff)*4
		if b = b[4:]; len(b) < size {
			return syscall.ENODATA // xe_guc_klv_count
		}
		if v, known := want[key]; known && (size != 4 || binary.LittleEndian.Uint32(b) != v) {
			return syscall.ENODEV
		}
		b = b[size:]
	}
	return nil
}
