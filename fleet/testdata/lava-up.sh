#!/bin/sh
# lava.sh runs this script in its namespaces. It installs and starts LAVA with two devices of type
# ssh: dut1 has the tag gpu-bmg, dut2 has the tag gpu-ptl.
set -eu
cd /
step() { echo "$(cut -d' ' -f1 /proc/uptime) $*"; }
quietly() { "$@" >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }; }
daemon() { # NAME COMMAND...
	log=/var/log/lab-$1.log
	shift
	setsid "$@" >"$log" 2>&1 </dev/null &
}
step installs the packages
quietly apt-get install -y --no-download --no-install-recommends -o Dir::Cache::archives=/mnt/debs \
	lava-server lava-dispatcher lavacli openssh-server postgresql
step makes the database
chown postgres:postgres /run/postgresql
version=$(ls /usr/lib/postgresql | sort -n | tail -1)
rm -rf /etc/postgresql/* /var/lib/postgresql/*
quietly pg_createcluster "$version" main -- --no-sync
quietly pg_ctlcluster "$version" main start -o '-c fsync=off -c listen_addresses=127.0.0.1'
quietly python3 /usr/share/lava-server/postinst.py --config --db --fixup
cat >/tmp/uploads.py <<'P'
import http.server


class Uploads(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):  # /JOB/FILE
        with open("/mnt/test/out/%s.tar.gz" % self.path.split("/")[1], "wb") as f:
            f.write(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(201)
        self.end_headers()


http.server.HTTPServer(("127.0.0.1", 8080), Uploads).serve_forever()
P
daemon uploads python3 /tmp/uploads.py
step starts the server
daemon web gunicorn3 lava_server.wsgi -u lavaserver -g lavaserver --worker-class eventlet --workers 1 --timeout 600 --bind 127.0.0.1:8000
manage() { quietly lava-server manage "$@"; }
manage users add admin --passwd admin --superuser
manage tokens add --user admin --secret 0123456789012345678901234567
manage device-types add ssh
manage workers add lavalab
mkdir -p /root/.ssh /etc/lava-server/dispatcher.d/lavalab /root/.config
echo 'dispatcher_ip: 127.0.0.1' >/etc/lava-server/dispatcher.d/lavalab/dispatcher.yaml
quietly ssh-keygen -A
quietly ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/lab
cat /root/.ssh/lab.pub >/root/.ssh/authorized_keys
chmod -R go= /root/.ssh
for n in 1 2; do
	manage devices add --device-type ssh --worker lavalab dut$n
	cat >/etc/lava-server/dispatcher-config/devices/dut$n.jinja2 <<J
{% extends 'ssh.jinja2' %}
{% set ssh_host = '127.0.0.1' %}
{% set ssh_port = 220$n %}
{% set ssh_user = 'root' %}
{% set ssh_identity_file = '/root/.ssh/lab' %}
J
	# Each DUT has a /var/tmp of its own, as two machines have.
	mkdir -p /srv/dut$n
	echo '{}' >/srv/dut$n/labels.json
	daemon dut$n unshare --mount sh -c "mount -t tmpfs tmpfs /var/tmp; exec /usr/sbin/sshd -D -p 220$n -o ListenAddress=127.0.0.1 \
		-o PermitRootLogin=yes -o UsePAM=no -o 'SetEnv=TOY_DIR=/srv/dut$n PATH=$PATH'"
done
mkdir -p /etc/lava-server/dispatcher-config/health-checks
cp /mnt/test/health.yaml /etc/lava-server/dispatcher-config/health-checks/ssh.yaml
chown -R lavaserver:lavaserver /etc/lava-server/dispatcher-config /etc/lava-server/dispatcher.d
cat >/tmp/tags.py <<'P'
from lava_scheduler_app.models import Device, Tag
for name, tag in (("dut1", "gpu-bmg"), ("dut2", "gpu-ptl")):
    Device.objects.get(hostname=name).tags.add(Tag.objects.get_or_create(name=tag)[0])
P
quietly sh -c 'lava-server manage shell </tmp/tags.py'
cat >/root/.config/lavacli.yaml <<'C'
default:
  uri: http://127.0.0.1:8000/RPC2
  username: admin
  token: "0123456789012345678901234567"
C
token=$(lava-server manage workers details lavalab | sed -n 's/^token *: //p')
daemon scheduler lava-server manage lava-scheduler
daemon publisher lava-server manage lava-publisher --host 127.0.0.1 --port 8001
daemon worker lava-worker --name lavalab --url http://127.0.0.1:8000/ --ws-url http://127.0.0.1:8001/ws/ --token "$token"
for n in 1 2; do manage devices update --health UNKNOWN dut$n; done # the scheduler runs their health checks
step waits for the server
for i in $(seq 120); do
	lavacli devices list >/dev/null 2>&1 && break
	sleep 1
done
