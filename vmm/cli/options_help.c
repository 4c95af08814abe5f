/* --help */
#include <stdio.h>

#include "vmm/cli/options.h"

void options_print_help(void)
{
	fputs("usage: vmm --kernel FILE [OPTION]...\n"
	      "Boots a Linux kernel in a virtual machine with its console on this terminal.\n"
	      "\n"
	      "  --kernel FILE        bzImage or vmlinux to boot\n"
	      "  --initrd FILE        initial RAM disk\n"
	      "  --append TEXT        add to the built-in kernel command line\n"
	      "  --cmdline TEXT       replace it\n"
	      "  --disk FILE[,readonly][,overlay[=FILE]][,format=raw|qcow2]\n"
	      "       [,backing=FILE[,backing-format=raw|qcow2]][,serial=ID][,direct]\n"
	      "       [,queues=N][,iops=N[,iops-burst=N]][,bps=N[,bps-burst=N]]\n"
	      "                       image or block device (vda, vdb, ...), raw unless "
	      "told;\n"
	      "                       with overlay it stays as it is, and what the guest writes\n"
	      "                       ends with the machine, or is kept in FILE\n"
	      "  --net tap=NAME|tap-fd=N[,mac=M][,mtu=N][,queues=N]\n"
	      "                       network card on a TAP interface (eth0, eth1, ...)\n"
	      "  --net user[,forward=tcp|udp:HOST:GUEST]...[,mac=M][,mtu=N]\n"
	      "                       network card that needs no rights, through passt(1)\n"
	      "       [,rx-bps=N[,rx-bps-burst=N]][,rx-pps=N[,rx-pps-burst=N]] and tx- the same\n"
	      "                       with either: bytes and packets a second, to the guest and\n"
	      "                       from it\n"
	      "  --vsock cid=N,socket=PATH\n"
	      "                       sockets between guest and host (AF_VSOCK, PATH)\n"
	      "  --cpus N             virtual CPUs (default 1)\n"
	      "  --memory SIZE        guest memory, such as 512M or 4G (default 256M)\n"
	      "  --io-threads N       threads that serve the devices (default: see vmm(1))\n"
	      "  --rng on|off         entropy source (default on)\n"
	      "  --balloon on|off     give memory that the guest frees to the host (default on)\n"
	      "  --transport pci|mmio how the guest finds its devices (default pci)\n"
	      "  --timeout SECONDS    end the machine after this time, with status 124\n"
	      "  --console [virtio,]stdio|none|file=FILE|pty|socket=PATH\n"
	      "                       where the console goes (default stdio); it is the serial\n"
	      "                       port, or hvc0 with virtio, which is faster\n"
	      "  --log-level LEVEL    error, warn, info or debug (default warn)\n"
	      "  --help, --version\n"
	      "\n"
	      "Keys: Ctrl-A x ends the machine, Ctrl-A h lists the keys, Ctrl-A Ctrl-A sends\n"
	      "Ctrl-A.\n"
	      "Exit status: 0 powered off or rebooted, 123 crashed, 124 timed out, 125 vmm\n"
	      "could not, 128+N ended by signal N. See vmm(1).\n",
	      stdout);
}
