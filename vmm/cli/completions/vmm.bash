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
	image-cache) echo 'size=' ;;
	gdb) echo 'wait' ;;
	console) echo 'stdio none file= pty socket= virtio' ;;
	kaslr | unpack | kernel-cache | rng | balloon) echo 'on off' ;;
	transport) echo 'pci mmio' ;;
	tables) echo 'acpi dtb' ;;
	sandbox) echo 'on off strict' ;;
	log-level) echo 'error warn info debug' ;;
	esac
}

# _vmm_offer PREFIX ARGUMENT-OF-COMPGEN... - what of it bash is to put in the place of the piece that it sees
_vmm_offer() {
	local prefix=$1 reply
	shift
	while IFS= read -r reply; do
		reply=$prefix$reply
		COMPREPLY+=("${reply#"$cut"}")
	done < <(compgen "$@")
}

_vmm() {
	local options='--kernel --initrd --append --cmdline --kaslr --disk --net --vsock --cpus --memory --unpack --kernel-cache
		--io-threads --rng --balloon --gdb --transport --tables --dump-dtb --dump-guest --timeout --console --root --share --image-cache --env --boot-timeout --events --sandbox --user --log-level --help --version'
	local cur=${COMP_WORDS[COMP_CWORD]} word=${COMP_WORDS[COMP_CWORD]} at=$COMP_CWORD prev list='' cut before item known entry

	COMPREPLY=()
	# a command and its arguments
	if [[ " ${COMP_WORDS[*]:1:COMP_CWORD-1} " == *' -- '* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames
		return
	fi
	# bash sees words in pieces, with = and : for themselves, and wants the rest of the last piece
	[[ $cur != [=:] ]] || cur=''
	while ((at > 1)) && [[ $word == [=:]* || ${COMP_WORDS[at - 1]} == [=:] ]]; do
		at=$((at - 1))
		word=${COMP_WORDS[at]}$word
	done
	prev=${COMP_WORDS[at - 1]}
	if [[ $word == --*=* ]]; then
		prev=${word%%=*}
		word=${word#*=}
	fi
	cut=${word%"$cur"}
	item=${word##*,}
	before=${word%"$item"}
	case $prev in
	--kernel | --initrd | --dump-dtb | --dump-guest | --events)
		_vmm_offer '' -f -- "$word"
		compopt -o filenames
		return
		;;
	--user)
		_vmm_offer '' -u -- "$word"
		return
		;;
	--*)
		list=$(_vmm_words "${prev#--}")
		;;
	help)
		_vmm_offer '' -W 'kernel disk net memory machine console command sandbox status image doctor all' -- "$word"
		return
		;;
	esac
	if [[ $item == @(file|overlay|backing|socket)=* && " $list " == *" ${item%%=*}="* ]]; then
		_vmm_offer "$before${item%%=*}=" -f -- "${item#*=}"
		compopt -o filenames -o nospace
	elif [[ $prev == --root && $word == @(docker-archive|oci-archive|oci):* && $word != *,* ]]; then
		_vmm_offer "${word%%:*}:" -f -- "${word#*:}"
		compopt -o filenames -o nospace
	elif [[ $prev == --share && $word == *:/*:* && -z $before ]]; then
		_vmm_offer "${word%:*}:" -W 'ro rw' -- "${word##*:}"
	elif [[ $prev == --@(disk|root|share|gdb|image-cache) && -z $before ]]; then
		_vmm_offer '' -f -- "$word"
		compopt -o filenames -o nospace
	elif [[ -n $list ]]; then
		known=''
		for entry in $list; do # what stands there already does not stand there twice
			[[ $entry != forward=* && ",$before" == *",$entry"* ]] || known+="$entry "
		done
		_vmm_offer "$before" -W "$known" -- "$item"
		[[ ${COMPREPLY[0]-} != *[=:] ]] || compopt -o nospace
	elif [[ ${COMP_WORDS[1]} == doctor ]]; then
		_vmm_offer '' -W '--kernel --json --help' -- "$word"
	elif [[ ${COMP_WORDS[1]} == image ]]; then
		if [[ $word != -* && " ${COMP_WORDS[*]:2:at-2} " == *\ @(ls|du|rm|prune|build)\ * ]]; then
			_vmm_offer '' -f -- "$word"
			compopt -o filenames
		else
			_vmm_offer '' -W 'ls du rm prune build --image-cache' -- "$word"
		fi
	elif [[ $prev != --* || $prev == --help || $prev == --version ]]; then
		[[ $COMP_CWORD != 1 ]] || options+=' doctor image help'
		_vmm_offer '' -W "$options" -- "$word"
	fi
}

complete -F _vmm vmm
