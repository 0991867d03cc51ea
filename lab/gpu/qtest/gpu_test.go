//go:build integration

package qtest

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Addresses and sizes in the test's machine.
const (
	ecam    = 0xb0000000
	bar0    = 0xc0000000
	vfBar0  = 0xd0000000
	bar2    = 64 << 30
	vfBar2  = 128 << 30 // only of a GPU with local memory
	barSize = 16 << 20
	gsm     = 8 << 20
	fnBase  = 0x190000
	devfn   = 2 << 3
	sriov   = 0x320
	ramBase = 16 << 20
	vfs     = 3

	// media + n is function n at the GuC of the media GT.
	media   = 16
	mediaGT = 0x380000 // registers of the media GT
)

// A ctbs has the CTB of each function, on both GTs.
type ctbs [media + vfs + 1]ctb

// A gpu is a machine with the device, its BARs mapped, and a simple allocator of memory.
type gpu struct {
	*Machine
	t    testing.TB
	ram  uint64 // next free page of RAM
	ggtt uint64 // next free page of the GGTT
	pte  map[uint64]uint64
	ct   ctbs
}

// need returns the value of an environment variable. The test fails without it.
func need(t testing.TB, name, what string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("set %s: %s (make gpu-test does)", name, what)
	}
	return v
}

func newGPU(t testing.TB) *gpu { return newGPUWith(t, "") }

// newGPUWith is newGPU with more properties of the device.
func newGPUWith(t testing.TB, props string) *gpu {
	t.Helper()
	g := &gpu{Machine: start(t, props), t: t, ram: ramBase, ggtt: 1 << 20, pte: map[uint64]uint64{}}
	g.Outl(0xcf8, 0x80000060) // address of the extended configuration space
	g.Outl(0xcfc, ecam|1)
	g.plug()
	return g
}

// start starts a machine with the device. The machine ends with the test.
func start(t testing.TB, props string, args ...string) *Machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour) // a fuzzer may run for long
	t.Cleanup(cancel)
	dir, err := os.MkdirTemp("", "gpu")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m, err := Start(ctx, Options{
		Root:   need(t, "VMTB_LAB_ROOT", "root directory of the lab, with QEMU in it"),
		Object: need(t, "VMTB_GPU_OBJECT", "the device, compiled by lab/gpu/build.sh"),
		Dir:    filepath.Clean(dir),
		Device: "vmtb-gpu,id=gpu,addr=2,vfs=3" + props,
		Args:   args,
		Stderr: os.Stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (g *gpu) cfg(fn int, off uint64) uint64 { return ecam + uint64(devfn+fn)<<12 + off }

// plug maps the BARs and enables the VFs, as a kernel does.
func (g *gpu) plug() {
	g.W64(g.cfg(0, 0x10), bar0)
	g.W64(g.cfg(0, 0x18), bar2)
	g.W16(g.cfg(0, 0x04), 6)
	g.W64(g.cfg(0, sriov+0x24), vfBar0)
	g.W64(g.cfg(0, sriov+0x2c), vfBar2)
	g.W16(g.cfg(0, sriov+0x10), vfs)
	g.W16(g.cfg(0, sriov+0x08), 0x19) // VF enable, VF MSE, ARI
	for n := 1; n <= vfs; n++ {
		g.W16(g.cfg(n, 0x04), 4)
	}
	g.ok()
}

// ok ends the test if the connection to QEMU has failed.
func (g *gpu) ok() {
	g.t.Helper()
	if err := g.Err(); err != nil {
		g.t.Fatal(err)
	}
}

// reg returns the address of a register in the BAR of a function.
func reg(fn int, off uint64) uint64 {
	fn %= media
	if fn == 0 {
		return bar0 + off
	}
	return vfBar0 + uint64(fn-1)*barSize + off
}

// alloc enters n pages into the GGTT for the function. It returns their addresses in the GGTT and
// in RAM.
func (g *gpu) alloc(fn, n int) (ggtt, ram uint64) {
	ggtt, ram = g.ggtt, g.ram
	for i := range uint64(n) {
		va, pa := ggtt+i<<12, ram+i<<12
		g.W64(bar0+gsm+va>>12*8, pa|uint64(fn%media)<<2|1)
		g.pte[va] = pa
	}
	g.Write(ram, make([]byte, n<<12))
	g.ggtt += uint64(n) << 12
	g.ram += uint64(n) << 12
	return ggtt, ram
}

// loadGuC starts the firmware as a driver does.
func (g *gpu) loadGuC() { g.loadGuCOf(0) }

// loadGuCOf is loadGuC for the GT whose registers begin at base.
func (g *gpu) loadGuCOf(base uint64) {
	g.W32(reg(0, base+0x941c), 1<<3)
	g.W32(reg(0, base+0xc314), 0x00110011)
}

// mailbox returns the offsets of a function's scratch registers and of its bell.
func mailbox(fn int) (scratch, bell uint64) {
	if fn >= media {
		return fnBase + 0x310, fnBase + 0x304
	}
	return fnBase + 0x240, fnBase + 0x1f0
}

// mbox sends a message through the mailbox of a function and returns the answer.
func (g *gpu) mbox(fn int, msg ...uint32) [4]uint32 {
	g.t.Helper()
	scratch, bell := mailbox(fn)
	for i := range 4 {
		var v uint32
		if i < len(msg) {
			v = msg[i]
		}
		g.W32(reg(fn, scratch+uint64(i)*4), v)
	}
	g.W32(reg(fn, bell), 1)
	var a [4]uint32
	for i := range a {
		a[i] = g.R32(reg(fn, scratch+uint64(i)*4))
	}
	g.ok()
	return a
}

// result splits the first dword of an answer.
func result(dw uint32) (ok bool, v uint32) {
	return dw>>28 == 0xf, dw & 0xfffffff
}

// A ctb is the pair of command transport buffers of a function, in RAM.
type ctb struct {
	fn             int
	hdesc, hbuf    uint64
	gdesc, gbuf    uint64
	htail, ghead   uint32
	hsize, gsize   uint32
	fence          uint16
	pending        [][]uint32
	hGGTT, gGGTT   uint64
	hdGGTT, gdGGTT uint64
}

const ctSize = 4096

// openCT registers CTBs and enables them.
func (g *gpu) openCT(fn int) {
	g.t.Helper()
	c := ctb{fn: fn, hsize: ctSize / 4, gsize: ctSize / 4}
	c.hdGGTT, c.hdesc = g.alloc(fn, 1)
	c.gdGGTT, c.gdesc = g.alloc(fn, 1)
	c.hGGTT, c.hbuf = g.alloc(fn, 1)
	c.gGGTT, c.gbuf = g.alloc(fn, 1)
	for _, kv := range []struct {
		key, n uint32
		v      uint64
	}{
		{0x902, 2, c.hGGTT},
		{0x903, 2, c.hdGGTT},
		{0x904, 1, ctSize},
		{0x905, 2, c.gGGTT},
		{0x906, 2, c.gdGGTT},
		{0x907, 1, ctSize},
	} {
		a := g.mbox(fn, 0x508, kv.key<<16|kv.n, uint32(kv.v), uint32(kv.v>>32))
		if ok, v := result(a[0]); !ok || v != 1 {
			g.t.Fatalf("fn%d: self config key %#x: answer %#x", fn, kv.key, a[0])
		}
	}
	if ok, _ := result(g.mbox(fn, 0x4509, 1)[0]); !ok {
		g.t.Fatalf("fn%d: the GuC did not switch its CTBs on", fn)
	}
	g.ct[fn] = c
}

// send puts a message into the ring of a function and rings its bell. hxg[0] is the HXG header.
func (g *gpu) send(fn int, hxg ...uint32) (fence uint16) {
	c := &g.ct[fn]
	c.fence++
	for i, v := range append([]uint32{uint32(c.fence)<<16 | uint32(len(hxg))}, hxg...) {
		g.W32(c.hbuf+uint64((c.htail+uint32(i))%c.hsize)*4, v)
	}
	c.htail = (c.htail + uint32(len(hxg)) + 1) % c.hsize
	g.W32(c.hdesc+4, c.htail)
	g.bell(fn)
	return c.fence
}

// bell rings the bell of a function, and lets QEMU's main loop run the resulting work.
func (g *gpu) bell(fn int) {
	scratch, bell := mailbox(fn)
	g.W32(reg(fn, scratch), 0)
	g.W32(reg(fn, bell), 1)
	g.Step(time.Microsecond)
}

// recv returns the new messages for a function: fence and HXG dwords.
func (g *gpu) recv(fn int) [][]uint32 {
	g.t.Helper()
	c := &g.ct[fn]
	got := c.pending
	c.pending = nil
	for tail := g.R32(c.gdesc + 4); c.ghead != tail; {
		h := g.R32(c.gbuf + uint64(c.ghead)*4)
		n := h & 0xff
		m := []uint32{h >> 16}
		for i := range n {
			m = append(m, g.R32(c.gbuf+uint64((c.ghead+1+i)%c.gsize)*4))
		}
		c.ghead = (c.ghead + n + 1) % c.gsize
		if n > c.gsize {
			g.t.Fatalf("fn%d: a message of %d dwords", fn, n)
		}
		got = append(got, m)
	}
	g.W32(c.gdesc, c.ghead)
	g.ok()
	return got
}

// call sends a request and returns its answer.
func (g *gpu) call(fn int, hxg ...uint32) (ok bool, v uint32) {
	g.t.Helper()
	f := g.send(fn, hxg...)
	answered := false
	for _, m := range g.recv(fn) {
		if m[0] == uint32(f) && m[1]>>31 == 1 && m[1]>>28&7 >= 5 {
			answered = true
			ok, v = result(m[1])
		} else {
			g.ct[fn].pending = append(g.ct[fn].pending, m)
		}
	}
	if !answered {
		g.t.Fatalf("fn%d: no answer to %#x", fn, hxg)
	}
	return ok, v
}

// events returns the data of the received events with this action.
func (g *gpu) events(fn int, action uint32) [][]uint32 {
	var found, other [][]uint32
	for _, m := range g.recv(fn) {
		if m[1]>>28 == 9 && m[1]&0xffff == action {
			found = append(found, m[2:])
		} else {
			other = append(other, m)
		}
	}
	g.ct[fn].pending = other
	return found
}

// provision gives a VF a part of the GGTT, contexts, and scheduling parameters.
func (g *gpu) provision(vf int, kv ...uint32) {
	g.t.Helper()
	va, pa := g.alloc(0, 1)
	k := append([]uint32{
		0x0001<<16 | 2, 1 << 20, 0, 0x0002<<16 | 2, 64 << 20, 0, 0x0004<<16 | 1, 256, 0x0006<<16 | 1, 16,
	}, kv...)
	if vf%media == 0 {
		k = kv
	}
	g.Write(pa, le(k...))
	if ok, v := g.call(vf/media*media, 0x5503, uint32(vf%media), uint32(va), 0, uint32(len(k))); !ok {
		g.t.Fatalf("provisioning of VF%d: error %#x", vf, v)
	}
}

// policy sets a policy for all functions.
func (g *gpu) policy(key, value uint32) {
	g.t.Helper()
	va, pa := g.alloc(0, 1)
	g.Write(pa, le(key<<16|1, value))
	if ok, v := g.call(0, 0x5502, uint32(va), 0, 2); !ok || v != 1 {
		g.t.Fatalf("policy %#x: %t, %#x", key, ok, v)
	}
}

func le(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

// ready returns a device whose GuC runs. The PF and the VFs have CTBs, and every VF is provisioned.
func ready(t testing.TB) *gpu {
	t.Helper()
	g := newGPU(t)
	g.loadGuC()
	g.openCT(0)
	for n := 1; n <= vfs; n++ {
		g.provision(n)
		g.openCT(n)
	}
	return g
}

// set sets a property of the device.
func (g *gpu) set(name string, v any) {
	g.t.Helper()
	if err := g.QMP("qom-set", map[string]any{
		"path": "/machine/peripheral/gpu", "property": name, "value": v,
	}); err != nil {
		g.t.Fatal(err)
	}
}
