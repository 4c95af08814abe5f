#include "themes.h"

#include "guest.h"

const struct theme themes[] = {
	{"ports", attack_ports},
	{"power", attack_power},
	{"serial", attack_serial},
	{"registers", attack_registers},
	{"config", attack_config},
	{"bars", attack_bars},
	{"msix", attack_msix},
	{"queues", attack_queues},
	{"chains", attack_chains},
	{"race", attack_race},
	{"requests", attack_requests},
	{"net", attack_net},
	{"vsock", attack_vsock},
	{"balloon", attack_balloon},
	{"fs", attack_fs},
	{"flood", attack_flood},
	{"wild", attack_wild},
	{"mixed", attack_mixed},
	{"reboot", attack_reboot},
	{"healthy", live_healthy},
	{"spin", live_spin},
	{0},
};
