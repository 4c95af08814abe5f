# bash completion for vmm(1)                                    -*- shell-script -*-

# _vmm_words LIST - what may stand in the value of that option; words that end with = take more
_vmm_words() {
	case $1 in
	disk) echo 'readonly overlay overlay= format=raw format=qcow2 backing= backing-format=raw backing-format=qcow2 serial= direct queues= iops= iops-burst= bps= bps-burst=' ;;
	net) echo 'user tap= tap-fd= forward=tcp: forward=udp: mac= mtu= queues= vhost=on vhost=off rx-bps= rx-pps= tx-bps= tx-pps= rx-bps-burst= rx-pps-burst= tx-bps-burst= tx-pps-burst=' ;;
	vsock) echo 'cid= socket=' ;;
	memory) echo 'hugepages=thp hugepages=off hugepages=2M hugepages=1G prefault shared' ;;
	root) echo 'rw shared packed mounts' ;;
	share) echo 'cache=auto cache=always cache=never' ;;
	gdb) echo 'wait' ;;
	console) echo 'stdio none file= pty socket= virtio' ;;
	kaslr | unpack | kernel-cache | rng | balloon) echo 'on off' ;;
	transport) echo 'pci mmio' ;;
	tables) echo 'acpi dtb' ;;
	sandbox) echo 'on off strict' ;;
	log-level) echo 'error warn info debug' ;;
	esac
}

_vmm() {
	local options='--kernel --initrd --append --cmdline --kaslr --disk --net --vsock --cpus --memory --unpack --kernel-cache
		--io-threads --rng --balloon --gdb --transport --tables --dump-dtb --dump-guest --timeout --console --root --share --image-cache --env --boot-timeout --events --sandbox --user --log-level --help --version'
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} list before=''

	# "--option=value" comes as three words; what a list has behind its last equals sign is no option's value
	[[ $cur != = ]] || cur=''
	[[ $prev != = ]] || prev=${COMP_WORDS[COMP_CWORD - 2]}
	COMPREPLY=()
	# a command and its arguments
	if [[ " ${COMP_WORDS[*]:1:COMP_CWORD-1} " == *' -- '* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames
		return
	fi
	case $prev in
	--kernel | --initrd | --image-cache | --dump-dtb | --dump-guest | --events)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames
		return
		;;
	--user)
		mapfile -t COMPREPLY < <(compgen -u -- "$cur")
		return
		;;
	--*)
		list=$(_vmm_words "${prev#--}")
		;;
	help)
		mapfile -t COMPREPLY < <(compgen -W 'kernel disk net memory machine console command sandbox status image doctor all' -- "$cur")
		return
		;;
	esac
	if [[ $prev == --@(disk|root|share|gdb) && $cur != *,* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames -o nospace
	elif [[ -n $list ]]; then
		[[ $cur != *,* ]] || before=${cur%,*},
		mapfile -t COMPREPLY < <(compgen -P "$before" -W "$list" -- "${cur##*,}")
		[[ ${COMPREPLY[0]-} != *[=:] ]] || compopt -o nospace
	elif [[ ${COMP_WORDS[1]} == doctor ]]; then
		mapfile -t COMPREPLY < <(compgen -W '--kernel --json --help' -- "$cur")
	elif [[ ${COMP_WORDS[1]} == image ]]; then
		if [[ $COMP_CWORD == 2 || $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W 'ls du rm prune build --image-cache' -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			compopt -o filenames
		fi
	elif [[ $prev != --* || $prev == --help || $prev == --version ]]; then
		[[ $COMP_CWORD != 1 ]] || options+=' doctor image help'
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
	fi
}

complete -F _vmm vmm
