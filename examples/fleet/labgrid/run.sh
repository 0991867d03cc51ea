#!/bin/sh
# run.sh SELECTION...: reserves a place with the tag gpu=bmg, runs flows on it, and copies the run
# directory to the current directory. If the DUT hangs, the script power-cycles it once and resumes
# the run.
set -eu
eval "$(labgrid-client reserve --wait --shell gpu=bmg)" # sets LG_TOKEN
export LG_TOKEN
labgrid-client -p + lock
trap 'labgrid-client -p + unlock; labgrid-client cancel-reservation "$LG_TOKEN"' EXIT
labgrid-client -p + ssh -- rm -rf /var/tmp/vmtb-run
code=0
labgrid-client -p + ssh -- vmtb run --run-dir=/var/tmp/vmtb-run "$@" || code=$?
if [ "$code" -eq 255 ]; then # ssh lost the DUT
	labgrid-client -p + power cycle
	until labgrid-client -p + ssh -- true; do sleep 10; done
	code=0
	labgrid-client -p + ssh -- vmtb resume /var/tmp/vmtb-run || code=$?
fi
labgrid-client -p + ssh -- tar -C /var/tmp -cz vmtb-run | tar -xz
exit "$code"
