/*
 * Asks for an address for an interface that is up (RFC 2131): one exchange, without renewing, for machines that live shorter
 * than a lease. It is for a server that answers at once, as passt does; nobody waits long for one that does not.
 *
 * One thread.
 */
#pragma once

#include <stdbool.h>

#include "guest/sys.h"

/* IPv4 addresses in network byte order; 0: not told. */
struct dhcp_lease {
	uint32_t address;
	uint32_t mask;
	uint32_t router;
	uint32_t server; /* that gave it */
	uint32_t names[3];
};

/* index and mac are the interface's. Returns whether there is a lease. */
bool dhcp_ask(const char *interface, int index, const uint8_t mac[6], struct dhcp_lease *lease);
