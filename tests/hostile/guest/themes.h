/* Every theme; each is the function NAME of the file that is said beside it. */
#pragma once

void attack_ports(void);  /* ports.c: every port in every width */
void attack_power(void);  /* ports.c: the ways to power off that are none */
void attack_serial(void); /* serial.c: the serial port's registers, input and output without end */
void attack_registers(void); /* registers.c: every register of every device */
void attack_config(void);    /* config.c: PCI configuration space */
void attack_bars(void);	     /* config.c: BARs in wrong places */
void attack_msix(void);	     /* msix.c: the table written while it is used */
void attack_queues(
	void); /* queues.c: what the registers of queues take, before and after DRIVER_OK */
void attack_chains(void); /* chains.c: descriptors, indices, indirect tables; what peers fell to */
void attack_race(void);	  /* race.c: values that change between two reads */
void attack_requests(void); /* requests.c: requests of every device, mostly valid */
void attack_net(void);	    /* net.c: frames and control requests */
void attack_vsock(void);    /* vsock.c: streams and credit */
void attack_fs(void);	    /* fs.c: shared directories */
void attack_balloon(void);  /* balloon.c: pages that are none */
void attack_flood(void);    /* flood.c: kicks and resets without end */
void attack_wild(void);	    /* msix.c: interrupts that hit ourselves; it may end in any way */
void attack_mixed(void);    /* flood.c: for the soak, all devices until the host ends it */
void attack_reboot(void);   /* flood.c: for the soak: some work, then a reboot */
void live_healthy(void);    /* healthy.c: the sibling that must not notice */
void live_spin(void);	    /* healthy.c: computes, and touches no device */
