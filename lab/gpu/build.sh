#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build.sh QEMU_SRC OUT.so compiles the emulated GPU into one shared object.
#
# QEMU_SRC is the unpacked source of exactly the QEMU that loads the object.
# Needed: cc, pkg-config, libglib2.0-dev, python3 (QEMU's generator of QAPI headers).
# With QTEST=1 the object also contains QEMU's accelerator "qtest", for tests: Debian's QEMU does
# not have it.
# CFLAGS_EXTRA is added to the compiler's flags, for example "-fsanitize=address".
set -eu

if [ $# -ne 2 ]; then
	echo "usage: build.sh QEMU_SRC OUT.so" >&2
	exit 2
fi
qemu=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
want=10.0.13

if ! have=$(cat "$qemu/VERSION"); then
	echo "build.sh: $qemu is no QEMU source: it has no file VERSION" >&2
	exit 1
fi
if [ "$have" != "$want" ]; then
	echo "build.sh: $qemu is QEMU $have, the device is written for $want" >&2
	exit 1
fi

gen=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$gen"' EXIT
mkdir "$gen/qapi"
python3 "$qemu/scripts/qapi-gen.py" -o "$gen/qapi" -b "$qemu/qapi/qapi-schema.json"

qtest=
if [ -n "${QTEST:-}" ]; then
	qtest=$qemu/accel/qtest/qtest.c
fi

# The warnings are QEMU's own (meson.build), and -Wextra without three warnings that code with
# QEMU's headers and designated initializers cannot avoid.
warn="-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
	-Wempty-body -Wendif-labels -Wexpansion-to-defined -Wformat-security -Wformat-y2k -Wignored-qualifiers
	-Wimplicit-fallthrough=2 -Winit-self -Wmissing-format-attribute -Wmissing-prototypes -Wnested-externs
	-Wold-style-definition -Wredundant-decls -Wshadow=local -Wstrict-prototypes -Wtype-limits -Wundef -Wvla
	-Wwrite-strings -Wno-psabi -Wno-shift-negative-value"

flags="-m64 -mcx16 -std=gnu11 -O2 -g -fPIC -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
	-fno-strict-aliasing -fno-common -fwrapv -DCOMPILING_SYSTEM_VS_USER $warn ${CFLAGS_EXTRA:-}
	-I$here -isystem $here/config -isystem $gen -isystem $gen/qapi -isystem $qemu/include
	-isystem $qemu/linux-headers -isystem $qemu/host/include/x86_64 -isystem $qemu/host/include/generic
	-isystem $qemu $(pkg-config --cflags glib-2.0)"

others=
for file in "$here"/*.c; do
	[ "$file" = "$here/nested.c" ] || others="$others $file"
done

# nested.c reads fields of the CPU. The layout of the CPU depends on the target.
# shellcheck disable=SC2086 # lists
cc $flags -DCOMPILING_PER_TARGET -DCONFIG_TARGET='"x86_64-target.h"' -isystem "$qemu/target/i386" -c -o "$gen/nested.o" "$here/nested.c"
# shellcheck disable=SC2086 # lists
cc $flags -shared -o "$out" $others "$gen/nested.o" $qtest
