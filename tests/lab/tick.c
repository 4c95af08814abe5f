/*
 * Has a timer of its own, the HPET's, interrupt the emulated machine ten times a second for as long as that lives: run.sh says why.
 * It is periodic in the device, so that one which gets lost takes none of the next with it.
 */
#include <fcntl.h>
#include <linux/hpet.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	int hpet = open("/dev/hpet", O_RDONLY | O_CLOEXEC);

	if (hpet < 0 || ioctl(hpet, HPET_IRQFREQ, 10ul) < 0 || ioctl(hpet, HPET_EPI) < 0 ||
	    ioctl(hpet, HPET_IE_ON) < 0) {
		perror("tick");
		return 1;
	}
	for (;;)
		pause();
}
