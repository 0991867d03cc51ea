package xe

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

func packet(version, kind byte, payload string) string {
	b := make([]byte, headerSize)
	b[0], b[1] = version, kind
	binary.LittleEndian.PutUint64(b[16:], uint64(len(payload)))
	return string(b) + payload
}

func TestPackets(t *testing.T) {
	first, last := packet(1, 1, strings.Repeat("d", 16)), packet(1, 2, "")
	for _, c := range []struct{ name, data, says string }{
		{"whole", first + packet(1, 5, "guc") + packet(1, 6, "") + last, ""},
		{"another version", packet(2, 77, "and what it may be"), ""},
		{"a type to come", first + packet(1, 99, "x") + last, ""},
		{"nothing", "", "it ends after 0 packets, without a trailer"},
		{"no trailer", first, "it ends after 1 packets, without a trailer"},
		{"header cut", first + last[:5], "it ends in the middle of packet 2"},
		{"payload cut", first[:30], "it ends in the middle of packet 1"},
		{"no descriptor", last, "packet 1 is of type 2: only the first is a descriptor (1)"},
		{"two descriptors", first + first + last, "packet 2 is of type 1"},
		{"a tail", first + last + first, "data follow its trailer"},
	} {
		for _, size := range []int{1, 23, 25, 1000} { // size of a write
			p := &packets{}
			for piece := range slices.Chunk([]byte(c.data), size) {
				if n, err := p.Write(piece); n != len(piece) || err != nil {
					t.Fatal(n, err)
				}
			}
			err := p.complete()
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

// FuzzPackets: the result is the same for any split of a stream.
func FuzzPackets(f *testing.F) {
	f.Add([]byte(packet(1, 1, "0123456789abcdef")+packet(1, 5, "x")+packet(1, 2, "")), uint(7))
	f.Fuzz(func(t *testing.T, data []byte, split uint) {
		at := int(split % uint(len(data)+1))
		var whole, parts packets
		_, _ = whole.Write(data)
		_, _ = parts.Write(data[:at])
		_, _ = parts.Write(data[at:])
		a, b := whole.complete(), parts.complete()
		if (a == nil) != (b == nil) || a != nil && a.Error() != b.Error() {
			t.Errorf("whole: %v, in two: %v", a, b)
		}
		if a == nil && len(data) < headerSize {
			t.Errorf("%d bytes are no stream", len(data))
		}
	})
}
