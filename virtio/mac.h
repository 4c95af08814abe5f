/*
 * The Ethernet address of a network card that was given none.
 *
 * Any thread.
 */
#pragma once

#include <stdint.h>
#include <linux/if_ether.h>

/*
 * A locally administered unicast address (02:...) that depends on the interface's name and this host's /etc/machine-id and
 * nothing else, so that it is the same at every start and on every version. The machine-id is the key of a hash, of which
 * guests that know addresses and names learn nothing; one that cannot be read, or is not of the form of machine-id(5), counts
 * as zeros.
 */
void mac_default(uint8_t mac[ETH_ALEN], const char *interface);
