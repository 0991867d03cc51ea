package env

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// sizeUnits maps the units of sizes to powers of two. All are powers of 1024, as in QEMU.
var sizeUnits = map[string]uint{
	"B": 0, "K": 10, "KB": 10, "KIB": 10, "M": 20, "MB": 20, "MIB": 20, "G": 30, "GB": 30, "GIB": 30, "T": 40, "TB": 40,
	"TIB": 40,
}

var errSize = errors.New("want a size, like 512M or 4G")

// ParseSize parses a size: a whole number with a unit. Without a unit, the number counts units of
// 1<<bare bytes.
func ParseSize(text string, bare uint) (bytes uint64, err error) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRight(text, "BKMGTibkmgt ")
	shift := bare
	if unit := strings.TrimSpace(text[len(digits):]); unit != "" {
		s, ok := sizeUnits[strings.ToUpper(unit)]
		if !ok {
			return 0, errSize
		}
		shift = s
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n<<shift>>shift != n {
		return 0, errSize
	}
	return n << shift, nil
}

// A Mebibytes is the value of a flag: a size in MiB, unless it has a unit. It implements
// pflag.Value.
type Mebibytes int

// NewMebibytes sets *at to the default and returns at as the value of a flag.
func NewMebibytes(at *int, normal int) *Mebibytes {
	*at = normal
	return (*Mebibytes)(at)
}

// Set implements pflag.Value.
func (m *Mebibytes) Set(text string) error {
	const shift = 20
	n, err := ParseSize(text, shift)
	switch {
	case err != nil:
		return err
	case n>>shift<<shift != n || n>>shift > math.MaxInt32:
		return errors.New("want whole MiB, like 512M or 4G")
	}
	*m = Mebibytes(n >> shift)
	return nil
}

// String implements pflag.Value.
func (m *Mebibytes) String() string {
	switch n := int(*m); {
	case n == 0:
		return "0"
	case n%1024 == 0:
		return strconv.Itoa(n/1024) + "G"
	default:
		return strconv.Itoa(n) + "M"
	}
}

// Type implements pflag.Value.
func (m *Mebibytes) Type() string { return "size" }
