#!/bin/sh
# resubmit.sh JOB: submits a job again if it failed because of the lab, not because of the software
# under test. It prints the new job's number, or nothing.
set -eu
if lavacli results "$1" --yaml | grep -q 'error_type: Infrastructure'; then
	lavacli jobs definition "$1" >"job-$1.yaml"
	lavacli jobs submit "job-$1.yaml"
fi
