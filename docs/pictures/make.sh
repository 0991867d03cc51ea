#!/bin/sh
# Makes the pictures of README.md from the stored run in docs/pictures/run: docs/pictures/make.sh VMTB.
# "make pictures" calls it. CHROMIUM names the browser if it is not in PATH.
set -eu
vmtb=$(realpath "$1")
cd "$(dirname "$0")"
here=$PWD

for browser in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome ""; do
	if [ -z "$browser" ]; then
		echo "make pictures: Chromium is missing; install it (Debian: apt-get install chromium fonts-dejavu-core)," >&2
		echo "make pictures: or name it: make pictures CHROMIUM=/path/to/chromium" >&2
		exit 1
	fi
	! command -v "$browser" >/dev/null || break
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/vmtb-results"
cp -r run "$work/vmtb-results/20261129-191033-lab" # reports write into the run directory
cd "$work"
run=vmtb-results/20261129-191033-lab

# picture NAME WIDTH HEIGHT PAGE. A browser that runs as root has no sandbox; the pages are our own.
picture() {
	"$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" \
		--window-size="$2,$3" --screenshot="$work/$1.png" "file://$4" 2>"$work/$1.log" ||
		{ cat "$work/$1.log" >&2; exit 1; }
	[ -s "$work/$1.png" ] || { cat "$work/$1.log" >&2; exit 1; }
	cp "$work/$1.png" "$here/$1.png"
	echo "docs/pictures/$1.png"
}

# The terminal: escape sequences become elements of HTML.
{
	printf '%s\n' '<!doctype html><meta charset="utf-8"><style>' \
		'body { margin: 0; padding: 14px; background: #14161a; color: #d8dade }' \
		'pre { margin: 0; font: 13px/1.45 "DejaVu Sans Mono", monospace }' \
		'.b { font-weight: bold } .d { color: #8a9099 } .r { color: #ff6b68 } .g { color: #6fca6f } .y { color: #e0b050 }' \
		'</style><pre>$ vmtb lab run --warm -v test_basic::TestVmSetup'
	"$vmtb" report -v --color=always $run | sed -e "s|$work/||g" -e 's/&/\&amp;/g; s/</\&lt;/g' \
		-e 's/\x1b\[1m/<span class=b>/g; s/\x1b\[2m/<span class=d>/g; s/\x1b\[31m/<span class=r>/g' \
		-e 's/\x1b\[32m/<span class=g>/g; s/\x1b\[33m/<span class=y>/g; s/\x1b\[0m/<\/span>/g'
	echo '</pre>'
} >terminal.html
lines=$(wc -l <terminal.html)
picture terminal 1060 $(((lines - 6) * 19 + 40)) "$work/terminal.html"

"$vmtb" report --report=html:pages $run >/dev/null 2>&1
picture report 1060 "615" "$work/pages/index.html"
