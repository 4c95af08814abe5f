# fish completion for vmm(1)

# What may stand in the value of an option; words that end with = take more.
function __vmm_words
    switch $argv[1]
        case disk; echo 'readonly overlay overlay= format=raw format=qcow2 backing= backing-format=raw backing-format=qcow2 serial= direct queues= iops= iops-burst= bps= bps-burst='
        case net; echo 'user tap= tap-fd= forward=tcp: forward=udp: mac= mtu= queues= vhost=on vhost=off rx-bps= rx-pps= tx-bps= tx-pps= rx-bps-burst= rx-pps-burst= tx-bps-burst= tx-pps-burst='
        case vsock; echo 'cid= socket='
        case memory; echo 'hugepages=thp hugepages=off hugepages=2M hugepages=1G prefault shared'
        case root; echo 'rw shared packed mounts'
        case share; echo 'cache=auto cache=always cache=never'
        case image-cache; echo 'size='
        case gdb; echo 'wait'
        case console; echo 'stdio none file= pty socket= virtio'
    end
end

# The next word of a list with commas.
function __vmm_list
    set -l value (string replace -r -- '^--[a-z-]+=' '' (commandline -ct))
    set -l before (string match -r -- '^.*,' $value)
    if test $argv[1] = share -a -z "$before"; and string match -qr ':/.*:' -- $value
        set -l place (string replace -r '[^:]*$' '' -- $value)
        echo $place'ro'\n$place'rw'
        return
    end
    if contains $argv[1] disk root share gdb image-cache; and test -z "$before"
        __fish_complete_path $value
        return
    end
    for word in (string split ' ' (__vmm_words $argv[1]))
        echo "$before$word"
    end
end

function __vmm_is
    set -l words (commandline -opc)
    test (count $words) -gt 1 -a "$words[2]" = $argv[1]
end

# Whether a machine is to run, and not one of the commands.
function __vmm_runs
    not __vmm_is help; and not __vmm_is doctor; and not __vmm_is image
end

complete -c vmm -f
complete -c vmm -n 'contains -- -- (commandline -opc)' -F
complete -c vmm -n '__fish_is_first_arg' -a doctor -d 'look whether virtual machines will run well'
complete -c vmm -n '__fish_is_first_arg' -a image -d 'container images that are kept'
complete -c vmm -n '__vmm_is image' -a 'ls du rm prune build'
complete -c vmm -n '__vmm_is image' -F
complete -c vmm -n '__fish_is_first_arg' -a help -d 'tell of a topic'
complete -c vmm -n '__vmm_is help' -a 'kernel disk net memory machine console command sandbox status image doctor all'
complete -c vmm -n '__vmm_is doctor' -l json -d 'as JSON'
complete -c vmm -n 'not __vmm_is help' -l kernel -r -F -d 'bzImage or vmlinux'
complete -c vmm -n __vmm_runs -l initrd -r -F -d 'initial RAM disk'
complete -c vmm -n __vmm_runs -l append -x -d 'add to the kernel command line'
complete -c vmm -n __vmm_runs -l cmdline -x -d 'the whole kernel command line'
complete -c vmm -n __vmm_runs -l kaslr -x -a 'on off' -d 'random addresses for the kernel'
complete -c vmm -n __vmm_runs -l disk -x -a '(__vmm_list disk)' -d 'image or block device'
complete -c vmm -n __vmm_runs -l net -x -a '(__vmm_list net)' -d 'network card'
complete -c vmm -n __vmm_runs -l vsock -x -a '(__vmm_list vsock)' -d 'sockets between guest and host'
complete -c vmm -n __vmm_runs -l cpus -x -d 'virtual CPUs'
complete -c vmm -n __vmm_runs -l memory -x -a '(__vmm_list memory)' -d 'guest memory'
complete -c vmm -n __vmm_runs -l unpack -x -a 'on off' -d 'unpack the kernel'
complete -c vmm -n __vmm_runs -l kernel-cache -x -a 'on off' -d 'keep unpacked kernels'
complete -c vmm -n __vmm_runs -l io-threads -x -d 'threads that serve the devices'
complete -c vmm -n __vmm_runs -l rng -x -a 'on off' -d 'entropy source'
complete -c vmm -n __vmm_runs -l balloon -x -a 'on off' -d 'give freed memory to the host'
complete -c vmm -n __vmm_runs -l gdb -x -a '(__vmm_list gdb)' -d 'debug the guest by this port or socket'
complete -c vmm -n __vmm_runs -l transport -x -a 'pci mmio' -d 'how the guest finds its devices'
complete -c vmm -n __vmm_runs -l tables -x -a 'acpi dtb' -d 'how the machine is described'
complete -c vmm -n __vmm_runs -l dump-dtb -r -F -d 'write the device tree to a file'
complete -c vmm -n __vmm_runs -l dump-guest -r -F -d 'where a failed guest is dumped to'
complete -c vmm -n __vmm_runs -l timeout -x -d 'seconds, then the machine is ended'
complete -c vmm -n __vmm_runs -l console -x -a '(__vmm_list console)' -d 'where the console goes'
complete -c vmm -n __vmm_runs -l root -x -a '(__vmm_list root)' -d 'the root of a command'
complete -c vmm -n __vmm_runs -l share -x -a '(__vmm_list share)' -d 'a directory of this host in the guest'
complete -c vmm -n 'not __vmm_is help; and not __vmm_is doctor' -l image-cache -x -a '(__vmm_list image-cache)' -d 'where container images are kept'
complete -c vmm -n __vmm_runs -l env -x -d 'a variable for the command'
complete -c vmm -n __vmm_runs -l boot-timeout -x -d 'seconds to the start of the command'
complete -c vmm -n __vmm_runs -l events -r -F -d 'a line of JSON for each step'
complete -c vmm -n __vmm_runs -l sandbox -x -a 'on off strict' -d 'give up what is not needed'
complete -c vmm -n __vmm_runs -l user -x -a '(__fish_complete_users)' -d 'run as this user'
complete -c vmm -n __vmm_runs -l log-level -x -a 'error warn info debug' -d 'messages to show'
complete -c vmm -n 'not __vmm_is help' -l help -d 'print and end'
complete -c vmm -n __vmm_runs -l version -d 'print and end'
