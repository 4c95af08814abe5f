#!/usr/bin/env bash
# This host's own programs in a guest with a network, by an ordinary user: apt-get, which also fetches a package from this host; and with two
# CPUs.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

prepare_more() {
	command -v passt >/dev/null || skip 'no passt (package passt)'
	command -v apt-get >/dev/null || skip 'no apt-get: this is no Debian'
	# A package, and a list of packages beside it.
	rm -rf "$stage/apt"
	mkdir -p "$stage/apt/tree/DEBIAN" "$stage/apt/www"
	printf '%s\n' 'Package: of-the-host' 'Version: 1' 'Architecture: all' 'Maintainer: none <none@localhost>' 'Description: a test' >"$stage/apt/tree/DEBIAN/control"
	head -c 300000 /dev/urandom >"$stage/apt/tree/data"
	make_or_skip dpkg-deb --root-owner-group -b "$stage/apt/tree" "$stage/apt/www/of-the-host_1_all.deb"
	{
		cat "$stage/apt/tree/DEBIAN/control"
		printf '%s\n' 'Filename: ./of-the-host_1_all.deb' "Size: $(stat -c %s "$stage/apt/www/of-the-host_1_all.deb")" \
			"SHA256: $(sha256sum "$stage/apt/www/of-the-host_1_all.deb" | cut -d ' ' -f 1)" ''
	} >"$stage/apt/www/Packages"
}
enter_lab cloud cloud-6.12
is_root || skip 'making an interface needs root rights'
begin_command

place=$(mktemp -d /var/tmp/share-XXXXXX) # not in /dev/shm, which is the guest's own
undo+=("rm -rf $place")
chmod 0755 "$place"
kernels=()
for flavour in cloud cloud-6.12; do
	place_kernel "$flavour" "$place"
	kernels+=("$kernel")
done

lead_out
cp -r "$stage/apt/www" "$tmp/www"
chmod -R a+rX "$tmp/www"
"$(type -P busybox)" httpd -f -p 127.0.0.1:8000 -h "$tmp/www" &
children[$!]=httpd

cd /
apt-get --version >"$tmp/version.want"
for kernel in "${kernels[@]}"; do
	name=${kernel##*/vmlinuz-}
	options=(--kernel "$kernel" --boot-timeout $((100 * slower)) --memory 512M --sandbox "$strict" --net user)
	run version --root / -- apt-get --version
	equal "$name: apt-get --version: status" 0 "$status"
	equal "$name: apt-get --version: errors" "" "$(text version.err)"
	equal "$name: apt-get --version" "$(text version.want)" "$(text version.out)"
done

# Its own directories: those of this host are root's, and closed to users.
cat >"$place/fetch" <<'SCRIPT'
mkdir -p /tmp/apt/lists/partial /tmp/apt/cache/archives/partial && cd /tmp/apt || exit
echo 'deb [trusted=yes] http://192.0.2.1:8000/ ./' >sources.list
cat >conf <<END
Dir::Etc::sourcelist "/tmp/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "/tmp/apt/lists";
Dir::State::status "/dev/null";
Dir::Cache "/tmp/apt/cache";
Acquire::Languages "none";
Acquire::http::Proxy "DIRECT";
APT::Sandbox::User "root";
END
export APT_CONFIG=/tmp/apt/conf
apt-get -q update >log 2>&1 && apt-get -q download of-the-host >>log 2>&1 || { cat log && exit 1; }
dpkg-deb --fsys-tarfile of-the-host_1_all.deb | tar -xO ./data | sha256sum
SCRIPT
run fetch --root / -- sh "$place/fetch"
equal 'apt-get update and download: status' 0 "$status"
equal 'apt-get update and download: errors' '' "$(text fetch.err)"
equal 'apt-get update and download' "$(sha256sum <"$stage/apt/tree/data")" "$(tail -n 1 "$tmp/fetch.out")"

# A file that was made in the top directory is the same one when it is looked up again, or locks would exclude nobody.
mkdir "$place/locks"
chown 1000:1000 "$place/locks"
run lock --root / --share "$place/locks:/mnt/locks" -- sh -c 'exec 9>/mnt/locks/lock && flock 9 && sleep 3 && ! flock -n /mnt/locks/lock echo taken twice && echo held'
equal 'a lock' held "$(text lock.out)$(text lock.err)"

# From Linux 6.11 on each CPU asks by a queue of its own.
# shellcheck disable=SC2016 # for the guest's shell
run queues --cpus 2 --root / -- sh -c 'for cpu in 0 1; do taskset -c $cpu ls -l /usr/bin >/dev/null || exit; done
	awk "/requests\.[01]/ { print \$NF, (\$2 + \$3 ? \"asked\" : \"silent\") }" /proc/interrupts'
equal 'two queues: errors' '' "$(text queues.err)"
equal 'two queues' 'virtio0-requests.0 asked virtio0-requests.1 asked' "$(sed 's/virtio[0-9]*/virtio0/' "$tmp/queues.out" | paste -sd ' ')"
nothing_left 'all'
finish
