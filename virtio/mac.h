/*
 * The Ethernet address of a network card that was given none.
 *
 * Pure functions, any thread.
 */
#pragma once

#include <stdint.h>
#include <linux/if_ether.h>

/*
 * A locally administered unicast address (02:...) that depends on the two strings and nothing else, so that
 * it is the same at every start and on every version.
 */
void mac_derive(uint8_t mac[ETH_ALEN], const char *machine_id, const char *interface);

/* mac_derive() with this host's /etc/machine-id, or "" when that cannot be read. */
void mac_default(uint8_t mac[ETH_ALEN], const char *interface);
