/*
 * The ports of the host that passt is to forward. passt binds each of them with IPv4 and with IPv6, ends when neither can be
 * had, and says nothing when one of them cannot: then a part of the host's addresses leads to another program.
 * Of UDP it shares a port with any program that shares it too, such as another passt, which then gets no packets any more.
 *
 * Nothing is held: a port may be taken by another program until passt binds it, which then is as without us.
 *
 * Owner: struct passt. Any thread.
 */
#pragma once

struct passt_forward;

/*
 * A warning for each port of which one family is in use. Returns 0, or -EADDRINUSE after a message about one that is in use
 * with both. What hinders otherwise is left for passt to tell.
 */
int passt_ports_check(const struct passt_forward *forwards, unsigned int n);
