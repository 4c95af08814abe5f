#!/usr/bin/env bash
# Container images as the root of a command: what the image says of its command is what runs.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
# shellcheck source=tests/boot/lib_image.sh
. "$here/lib_image.sh"

prepare_more() {
	local tool
	for tool in sqfstar zstd; do
		command -v $tool >/dev/null || skip "no $tool"
	done
	! lacks_images "$build/bin/vmm" "$stage" || skip 'this vmm was built without container images'
	cd "$stage"
	rm -rf image.tar* image-oci image-more image-link
	mkdir -p "$command_root"/{data/gone,srv/web,run/kept} image-more/data image-more/etc
	printf '%s\n' root:x:0:0:root:/root:/bin/sh web:x:1234:1235:Web:/srv/web:/bin/sh >"$command_root/etc/passwd"
	printf '%s\n' root:x:0: web:x:1235: extra:x:77:root,web >"$command_root/etc/group"
	echo lower >"$command_root/data/file"
	ln "$command_root/data/file" "$command_root/data/second"
	echo x >"$command_root/data/gone/file"
	echo upper >image-more/data/file
	: >image-more/data/.wh.gone
	printf '#!/bin/sh\necho "entry: $*"; id; echo "$HOME $USER $NAME $MORE"; pwd; exec "$@"\n' >image-more/entry
	chmod 755 image-more/entry
	tar -C "$command_root" --owner=0 --group=0 -cf image-1.tar .
	tar -C image-more --owner=0 --group=0 -cf image-2.tar .
	gzip -nf image-1.tar
	zstd -qf --rm image-2.tar
	config='"User":"web","Env":["PATH=/bin","NAME=of the image","MORE=2"],"Entrypoint":["/entry"],"Cmd":["cat","/data/file","/data/second"],"WorkingDir":"/srv/work/deep"'
	make_docker image.tar test:1 "$config" image-1.tar.gz image-2.tar.zst
	make_oci image-oci latest '"User":"77:nobody","Cmd":["true"]' image-1.tar.gz
	make_manifest image-oci '"Cmd":["sh","-c","id; id -un; echo $HOME; pwd; ls -d /run/kept /data/gone; echo new >/run/new && cat /run/new; exit 7"]' image-1.tar.gz >image-plain
	mkdir -p image-link/etc
	ln -s passwd.there image-link/etc/passwd
	echo root:x:0:0:root:/root:/bin/sh >image-link/etc/passwd.there
	tar -C image-link --owner=0 --group=0 -cf image-3.tar .
	make_manifest image-oci '"User":"ghost","Cmd":["true"]' image-1.tar.gz image-3.tar >image-ghost
	make_index image-oci "$(sed 's/.*"manifests":\[\(.*\)\]}/\1/' image-oci/index.json)" \
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",$(<image-plain),\"annotations\":{\"org.opencontainers.image.ref.name\":\"plain\"}}" \
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",$(<image-ghost),\"annotations\":{\"org.opencontainers.image.ref.name\":\"ghost\"}}"
	cd "$repo"
}
enter_lab cloud
begin_command
cp "$stage/image.tar" "$tmp/image.tar"
cp -r "$stage/image-oci" "$tmp/oci"
image=docker-archive:$tmp/image.tar

run own --root "$image"
equal 'its own command: status' 0 "$status"
equal 'its own command: user, environment, directory, arguments, layers' \
	'entry: cat /data/file /data/second | uid=1234(web) gid=1235(web) groups=77(extra),1235(web) | /srv/web web of the image 2 | /srv/work/deep | upper | lower' "$(text own.out)"
equal 'its own command: errors' '' "$(text own.err)"
kept=$(echo "$tmp"/cache/vmm/images/*.squashfs)
before=$(stat -c '%i %W' "$kept")

# Once more: what stands behind "--" takes the place of the command; what the user says of a variable counts.
echo input >"$tmp/input"
stdin=$tmp/input run other --root "$image" --env NAME=mine -- sh -c 'cat; echo out >/dev/stdout; echo err >/dev/stderr; (: >/etc/passwd) || echo refused; exit 3'
equal 'another command: status' 3 "$status"
equal 'another command: output' \
	'entry: sh -c cat; echo out >/dev/stdout; echo err >/dev/stderr; (: >/etc/passwd) || echo refused; exit 3 | uid=1234(web) gid=1235(web) groups=77(extra),1235(web) | /srv/web web mine 2 | /srv/work/deep | input | out | refused' \
	"$(text other.out)"
check 'another command: errors' "$(text other.err)" matches "$(text other.err)" 'err | *ermission denied*'
# What an image leaves to whoever runs it.
run names --root "$image" -- sh -c 'tail -n 3 /etc/hosts | tr "\t" " "; ulimit -Sn; ulimit -Hn
	cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range | tr "\t" " "'
equal 'names, open files, ports and ping' '127.0.0.1 localhost | ::1 localhost | 127.0.1.1 vmm | 1024 | 524288 | 0 | 0 2147483647' \
	"$(text names.out | sed 's/.* | \(127.0.0.1 \)/\1/')"
equal 'the second start unpacks nothing' "$before" "$(stat -c '%i %W' "$kept")"

run plain --root "oci:$tmp/oci:plain"
equal 'root, whom the image does not name: status' 7 "$status"
equal 'root, whom the image does not name: output' 'uid=0(root) gid=0(root) | root | /root | / | /data/gone | /run/kept | new' "$(text plain.out)"
run nobody --root "oci:$tmp/oci:latest"
equal 'a group that is not there: status' 125 "$status"
equal 'a group that is not there: message' "vmm: 'oci:$tmp/oci:latest': its /etc/group does not have its user's group: 77:nobody" "$(text nobody.err)"
# Where a link leads the guest alone knows.
run ghost --root "oci:$tmp/oci:ghost"
equal 'a user that is not there: status' 125 "$status"
equal 'a user that is not there: message' "vmm: 'oci:$tmp/oci:ghost': its /etc/passwd does not have its user: ghost" "$(text ghost.err)"

# A machine that runs holds its image.
mkfifo "$tmp/hold"
vmm_ --root "$image" -- sh -c 'echo up; cat >/dev/null' <"$tmp/hold" >"$tmp/hold.out" 2>&1 &
exec 7>"$tmp/hold"
until [[ $(text hold.out) == *up* ]] || ! kill -0 $! 2>/dev/null; do sleep 0.2; done
status=0
"${user[@]}" "$vmm" image rm test:1 >"$tmp/rm" 2>&1 || status=$?
equal 'an image in use' "125 vmm: image 'test:1' is in use by a machine" "$status $(text rm)"
exec 7>&-
wait $!
status=0
"${user[@]}" "$vmm" image rm test:1 >"$tmp/rm" 2>&1 || status=$?
equal 'an image that was used' '0 ' "$status $(text rm)"
nothing_left 'all of these'
finish
